"""One behaviour on real services: a tiny model and its catalogue, over gRPC."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.behaviors import measuring, rivals
from bench.behaviors.behaviors import Behavior
from bench.behaviors.kept import Work
from bench.behaviors.measuring import Servers, measure
from bench.behaviors.outcome import ARMS, AUTO, RULE, TOP_HIT, Setup, arm
from services.autosteer import tiers
from services.autosteer.progress import Event
from services.autosteer.spec import Prompt, Tier
from services.autosteer.validation import SYSTEM_PROMPT, UNSTEERED
from tests.autosteer.conftest import platform, small
from tests.autosteer.tiny_platform import BEHAVIOR, SAE, Platform

__all__ = ["platform", "small"]

SEA = Behavior("sea", "topic", BEHAVIOR)
SETUP = Setup("tiny", SAE, Tier.QUICK, 0, ("What is a lake?", "Why do we tell stories?"), 8, 0.7, 300.0)


async def heard(event: Event) -> None:
    """Needs no answer."""


async def compared(done: int, total: int) -> None:
    """Needs no answer."""


async def test_all_ways_answer_the_same_prompts_with_the_same_seeds(
    platform: Platform, small: tiers.Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rivals, "PAIRS", 4)
    servers = Servers(platform.channels[0], platform.channels[1], platform.encoder.encode)
    work = Work(tmp_path / "work")
    outcome = await measure(SEA, SETUP, servers, work, heard, compared)
    work.keep(outcome)
    assert work.outcome("sea") == outcome
    assert [each.name for each in outcome.measured.arms] == list(ARMS)
    places = [[(s.prompt, s.seed) for s in each.samples] for each in outcome.measured.arms]
    assert all(each == places[0] for each in places)
    assert tuple(prompt for prompt, _ in places[0]) == SETUP.prompts
    assert outcome.result.best is not None
    assert arm(outcome.measured, AUTO).edits == outcome.result.best.edits
    (hit,) = arm(outcome.measured, TOP_HIT).edits
    assert hit.value == rivals.TOP_HIT_NUDGE
    assert all(0 < edit.value <= rivals.RULE_FACTOR for edit in arm(outcome.measured, RULE).edits)
    assert not arm(outcome.measured, SYSTEM_PROMPT).edits
    assert arm(outcome.measured, UNSTEERED).score.mean == 0.0
    assert outcome.code == measuring.code_digest()


async def test_a_share_of_active_tokens_counts_the_answers_words_alone(platform: Platform) -> None:
    served = await platform.inference.served("", "")
    chat = Prompt.ask("the sea and the ship")
    answered = Prompt((*chat.messages, type(chat.messages[0])("assistant", "bread oven dough")))
    listed = list(range(40))
    shares = await rivals.active_shares(served, [answered], listed, platform.channels[0])
    assert {round(3 * share, 6) for share in shares.values()} <= {0.0, 1.0, 2.0, 3.0}
    assert any(shares.values())
    assert await rivals.active_shares(served, [answered], [], platform.channels[0]) == {}

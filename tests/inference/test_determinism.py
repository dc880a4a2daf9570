"""The same request and seed give the same bits, alone or in any company; no edit of one request shows in another."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from services.inference import hooks, scheduler
from services.inference.answers import Vocabulary
from services.inference.engine import EngineLimits
from services.inference.hooks import Segment
from services.inference.model import Pass, load_language_model
from services.inference.sae.base import Architecture
from services.inference.tokenizer import Tokenizer
from tests.inference.driver import Answer, Request, answer, engine_of, finish, step, submit
from tests.inference.steerings import some_request
from tests.inference.tiny import ENDLESS, Tiny, random_sae, tiny

COUNT = 64
Outcome = tuple[list[int], list[float | None], str, list[tuple[str, int, tuple[int, ...]]], str]


@cache
def requests() -> tuple[Request, ...]:
    """64 different steered, seeded requests; every eighth has a prompt of several chunks."""
    long = {number: some_request(number, longest_prompt=160, tokens=4) for number in range(0, COUNT, 8)}
    return tuple(long.get(n) or some_request(n, longest_prompt=20, tokens=4) for n in range(COUNT))


def outcome(given: Answer) -> Outcome:
    return given.tokens, given.logprobs, given.text, given.triggered, given.reason.value


@cache
def alone() -> tuple[Outcome, ...]:
    """Each in an engine of its own."""
    return tuple(outcome(answer(engine_of(tiny()), request, tiny().saes)) for request in requests())


def together(seed: int, limits: EngineLimits, spread: int) -> list[Outcome]:
    """All in one engine, each arriving at a random step."""
    rng = random.Random(seed)
    engine = engine_of(tiny(), limits)
    arrivals: dict[int, list[int]] = {}
    for number in rng.sample(range(COUNT), COUNT):
        arrivals.setdefault(rng.randint(0, spread), []).append(number)
    answers: dict[int, Answer] = {}
    for now in range(spread + 1):
        for number in arrivals.get(now, []):
            answers[number] = submit(engine, requests()[number], tiny().saes)
        step(engine)
    finish(engine)
    return [outcome(answers[number]) for number in range(COUNT)]


@pytest.mark.parametrize(
    "schedule", [*range(40), *(pytest.param(n, marks=pytest.mark.platform) for n in range(40, 100))]
)
def test_any_schedule_of_arrivals_gives_the_bits_of_each_request_alone(schedule: int) -> None:
    """Everyone at once, or spread over up to 20 steps; few or many running; small and large prefill budgets."""
    rng = random.Random(schedule)
    limits = EngineLimits(
        max_running=rng.choice([16, 64, 64, 64]),
        prefill_busy=rng.choice([64, 128, 512]),
        prefill_idle=rng.choice([64, 192, 512]),
        prefix_bytes=rng.choice([0, 1 << 20]),
    )
    assert together(schedule, limits, spread=rng.choice([0, 5, 20])) == list(alone())


@pytest.mark.parametrize("budget", [64, 128, 256])
def test_prefill_budgets_change_no_bit(budget: int) -> None:
    limits = EngineLimits(prefill_busy=budget, prefill_idle=budget)
    for number in range(0, COUNT, 8):
        assert outcome(answer(engine_of(tiny(), limits), requests()[number], tiny().saes)) == alone()[number]


def test_a_warm_prefix_cache_changes_no_bit() -> None:
    engine = engine_of(tiny())
    for _ in range(2):
        for number in range(0, COUNT, 8):
            assert outcome(answer(engine, requests()[number], tiny().saes)) == alone()[number]
    assert engine.prefix.hits > 0


@pytest.mark.parametrize("architecture", Architecture)
@pytest.mark.parametrize("rows", [1, 2, 3, 5, 17])
def test_an_activation_does_not_depend_on_how_many_are_read(architecture: Architecture, rows: int) -> None:
    sae = random_sae("one", 1, architecture, 20.0, seed=1, width=48)
    torch.manual_seed(1)
    h, features = torch.randn(60, 48) * 3, torch.randint(0, 40, (60,))
    whole = sae.weights.encode_pairs(h, features)
    for start in range(0, 60 - rows, 7):
        some = slice(start, start + rows)
        assert torch.equal(sae.weights.encode_pairs(h[some], features[some]), whole[some])
    torch.testing.assert_close(whole, sae.weights.encode(h).gather(-1, features[:, None])[:, 0])


def _shifted_rows(layer: int, acting: list[Segment]) -> tuple[list[object], torch.Tensor]:
    runs, rows = RUNS(layer, acting)
    return runs, (rows + 1).clamp_max(int(rows.max()))


def _swapped_lanes(batch: scheduler.Batch, device: torch.device) -> tuple[Pass, list[Segment]]:
    step, segments = LAYOUT(batch, device)
    for group in step.layout.decode:
        group.lanes = group.lanes.roll(1)
        group.dense = False
    return step, segments


def _swapped_segments(batch: scheduler.Batch, device: torch.device) -> tuple[Pass, list[Segment]]:
    step, segments = LAYOUT(batch, device)
    if len(segments) > 1:
        segments[0].steered, segments[1].steered = segments[1].steered, segments[0].steered
    return step, segments


def _gates_reversed(*arguments: object) -> list[float] | None:
    gates = ALLOWED(*arguments)
    return None if gates is None else [1 - gate for gate in gates]


RUNS, LAYOUT, ALLOWED = hooks._runs, scheduler.layout, hooks._allowed


@pytest.mark.parametrize(
    ("place", "mutant"),
    [
        ("services.inference.hooks._runs", _shifted_rows),
        ("services.inference.advance.layout", _swapped_lanes),
        ("services.inference.advance.layout", _swapped_segments),
        ("services.inference.hooks._allowed", _gates_reversed),
    ],
)
def test_these_tests_would_see_an_edit_that_reaches_the_wrong_row(
    place: str, mutant: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken engines: a row too far, lanes or requests exchanged, gates reversed. Each makes the comparison fail."""
    expected = list(alone())
    monkeypatch.setattr(place, mutant)
    limits = EngineLimits(max_running=64)
    assert together(0, limits, spread=0) != expected


@pytest.fixture(scope="module")
def embedded(embedded_model: Path) -> Iterator[tuple[Tiny, Tokenizer]]:
    """The embedded model in float32 with two random SAEs, on as many threads as there are cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    model = load_language_model(embedded_model, torch.float32, torch.device("cpu"))
    saes = {
        sae.id: sae
        for sae in (
            random_sae("relu", 10, Architecture.RELU, 60.0, 1, width=576),
            random_sae("topk", 10, Architecture.TOPK, 60.0, 2, width=576),
            random_sae("gated", 15, Architecture.GATED, 60.0, 3, width=576),
            random_sae("jump", 15, Architecture.JUMPRELU, 60.0, 4, width=576),
        )
    }
    yield Tiny(model, model.module, saes, {10: 60.0, 15: 60.0}), Tokenizer(embedded_model)
    torch.set_num_threads(threads)


@pytest.mark.model
def test_the_embedded_model_gives_the_same_bits_alone_and_together(embedded: tuple[Tiny, Tokenizer]) -> None:
    model, tokenizer = embedded
    vocabulary = Vocabulary(tokenizer.text_bytes, ENDLESS.ends)
    some = [
        replace(
            some_request(n, tokens=3), prompt=tuple(tokenizer.encode_text(f"Here are {n} facts about foxes:"))
        )
        for n in range(6)
    ]
    expected = [outcome(answer(engine_of(model, vocabulary=vocabulary), r, model.saes)) for r in some]
    assert len({o[2] for o in expected}) > 3
    for schedule in range(2):
        rng = random.Random(schedule)
        engine = engine_of(model, vocabulary=vocabulary)
        answers = {}
        for number in rng.sample(range(len(some)), len(some)):
            answers[number] = submit(engine, some[number], model.saes)
            for _ in range(rng.randrange(2)):
                step(engine)
        finish(engine)
        assert [outcome(answers[number]) for number in range(len(some))] == expected

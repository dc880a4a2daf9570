"""What cannot be worked on is refused before it is queued, with the field at fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from hearth.v1 import autosteer_service_pb2 as pb
from hearth.v1 import prompt_pb2
from services.autosteer.creation import Creation
from services.autosteer.settings import AutoSteerSettings
from services.autosteer.spec import Budget, Spec, Tier
from services.autosteer.upstream import Served
from services.autosteer.wire import decode, encode
from services.errors import DependencyUnavailable, InvalidField, ModelNotServed, SaeNotServed
from tests.autosteer.jobs.conftest import Jobs

WORDS = "talk like a pirate"


class Models:
    """Serves one model with one SAE."""

    async def served(self, model: str, sae: str) -> Served:
        if model not in ("", "m"):
            raise ModelNotServed(model, ["m"])
        if sae not in ("", "s"):
            raise SaeNotServed("spec.sae", sae, ["s"])
        return Served("m", "s", True, 10, 1.0)


class Away(Models):
    async def served(self, model: str, sae: str) -> Served:
        raise DependencyUnavailable("inference", "away")


def creation(jobs: Jobs, models: type[Models] = Models) -> Creation:
    async def announce() -> None:
        await jobs.messages.send(1)

    return Creation(jobs.ledger, lambda owner: models(), announce)  # type: ignore[arg-type, return-value]


def request(**spec: object) -> pb.CreateAutoSteerJobRequest:
    return pb.CreateAutoSteerJobRequest(spec=pb.AutoSteerSpec(**{"behavior": WORDS, **spec}))  # type: ignore[arg-type]


def text(words: str) -> prompt_pb2.Prompt:
    return prompt_pb2.Prompt(text=words)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"behavior": ""}, "spec.behavior"),
        ({"behavior": "  \n"}, "spec.behavior"),
        ({"behavior": "a" * 100_000}, "spec.behavior"),
        ({"behavior": "a\0"}, "spec.behavior"),
        ({"tier": 9}, "spec.tier"),
        ({"max_features": 0}, "spec.max_features"),
        ({"max_features": 6}, "spec.max_features"),
        ({"max_trials": 0}, "spec.max_trials"),
        ({"max_trials": 2, "max_features": 3}, "spec.max_trials"),
        ({"budget": {"seconds": 0}}, "spec.budget"),
        ({"budget": {"seconds": -5}}, "spec.budget"),
        ({"budget": {"seconds": 10**6}}, "spec.budget"),
        ({"seed": 2**63}, "spec.seed"),
        ({"temperature": float("nan")}, "spec.temperature"),
        ({"temperature": 3.0}, "spec.temperature"),
        ({"max_tokens": 0}, "spec.max_tokens"),
        ({"judge": {"name": "nobody"}}, "spec.judge.name"),
        ({"judge": {"endpoint": "http://x"}}, "spec.judge.endpoint"),
        ({"judge": {"name": "http", "endpoint": "file:///etc"}}, "spec.judge.endpoint"),
        ({"negative": [text("no")]}, "spec.negative"),
        ({"positive": [text("x")], "negative": [text("x")]}, "spec.negative[0]"),
        ({"positive": [text("")]}, "spec.positive[0]"),
        ({"prompts": [prompt_pb2.Prompt(token_ids={"ids": [1]})]}, "spec.prompts[0]"),
        ({"prompts": [{"chat": {"messages": [{"content": "hi"}]}}]}, "spec.prompts[0].chat.messages[0].role"),
        ({"prompts": [{"chat": {}}]}, "spec.prompts[0].chat.messages"),
    ],
)
def test_a_field_that_is_wrong_is_named(spec: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidField) as refused:
        decode.created(request(**spec))
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("spec", "field"), [({"model": "nope"}, "spec.model"), ({"sae": "nope"}, "spec.sae")]
)
async def test_a_model_or_sae_that_is_not_served_is_refused_before_it_is_queued(
    jobs: Jobs, spec: dict[str, str], field: str
) -> None:
    with pytest.raises(InvalidField) as refused:
        await creation(jobs).create("ann", decode.created(request(**spec)))
    assert refused.value.field == field
    assert await jobs.ledger.page("ann", 10) == ([], "")
    assert jobs.messages.held == 0


async def test_what_cannot_be_checked_now_is_not_queued(jobs: Jobs) -> None:
    with pytest.raises(DependencyUnavailable):
        await creation(jobs, Away).create("ann", decode.created(request()))
    assert await jobs.ledger.page("ann", 10) == ([], "")


async def test_a_job_has_model_sae_and_seed_filled_in_and_a_worker_is_woken(jobs: Jobs) -> None:
    made = await creation(jobs).create("ann", decode.created(request()))
    assert (made.spec.model, made.spec.sae) == ("m", "s")
    assert jobs.messages.held == 1
    again = await creation(jobs).create("ann", decode.created(request(seed=0)))
    assert again.spec.seed == 0
    assert encode.job(made).spec.seed == made.spec.seed


def test_what_is_asked_for_arrives_and_is_shown_as_it_was_asked() -> None:
    asked = request(
        max_features=2,
        max_trials=9,
        budget={"seconds": 60},
        seed=5,
        tier=pb.AUTO_STEER_TIER_THOROUGH,
        prompts=[text("Tell me."), {"chat": {"messages": [{"role": 2, "content": "Hi"}]}}],
        temperature=0.5,
        max_tokens=40,
        model="m",
        sae="s",
        judge={"name": "offline"},
    )
    wish = decode.created(asked)
    assert wish.spec.budget == Budget(Tier.THOROUGH, 60.0)
    assert encode.spec(wish.spec) == asked.spec
    assert isinstance(wish.spec, Spec)


def test_the_brokers_socket_is_never_too_long(tmp_path: Path) -> None:
    short = AutoSteerSettings(data_dir=Path("/d"), redis_url="")  # type: ignore[arg-type]
    assert short.broker == "unix:///d/broker.sock"
    deep = AutoSteerSettings(data_dir=tmp_path / ("x" * 120))
    assert len(str(deep.socket)) < 100

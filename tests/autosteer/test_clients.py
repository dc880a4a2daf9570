"""Calls of inference and features: tried again where that helps, and failures in the caller's own terms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc
import pytest

from services.autosteer.clients import retrying
from services.autosteer.clients.retrying import TRIES, tried
from services.autosteer.spec import Prompt
from services.autosteer.upstream import Ask
from services.errors import DependencyUnavailable, InvalidField
from services.steering.conditions import FeatureKey
from services.steering.edits import Edit, Operation, Steering
from tests.autosteer.tiny_platform import FEATURES, SAE, Platform, words


class Failing:
    """Fails with these statuses, then answers."""

    def __init__(self, *codes: grpc.StatusCode) -> None:
        self.codes, self.calls = list(codes), 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.codes:
            raise grpc.aio.AioRpcError(
                self.codes.pop(0), grpc.aio.Metadata(), grpc.aio.Metadata(), details="for the test"
            )
        return "answer"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "FIRST_WAIT", 0.0)


async def test_a_service_that_is_away_or_full_for_a_moment_is_asked_again() -> None:
    call = Failing(grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert await tried("inference", call) == "answer"
    assert call.calls == 3


async def test_a_service_that_stays_away_is_named() -> None:
    call = Failing(*[grpc.StatusCode.UNAVAILABLE] * 20)
    with pytest.raises(DependencyUnavailable, match="inference does not answer"):
        await tried("inference", call)
    assert call.calls == TRIES


async def test_a_request_that_is_refused_is_not_sent_again() -> None:
    call = Failing(grpc.StatusCode.INVALID_ARGUMENT)
    with pytest.raises(InvalidField, match="for the test"):
        await tried("features", call)
    assert call.calls == 1


async def test_a_text_that_the_model_cannot_hold_is_refused_as_the_spec_s_own(platform: Platform) -> None:
    long, short = Prompt(text=" ".join(words()[:1] * 5000)), Prompt(text=" ".join(words()[:4]))
    client = platform.inference
    await client.served("", "")
    with pytest.raises(InvalidField, match="allowed here: at most") as caught:
        await client.contrast([short] * 8, [long, *[short] * 7], 4)
    assert caught.value.field == "spec.negative"


async def test_a_passed_deadline_counts_as_away() -> None:
    with pytest.raises(DependencyUnavailable):
        await tried("inference", Failing(grpc.StatusCode.DEADLINE_EXCEEDED))


async def test_features_that_are_not_imported_yet_are_waited_for() -> None:
    with pytest.raises(DependencyUnavailable, match="for the test"):
        await tried("features", Failing(grpc.StatusCode.NOT_FOUND))


async def test_the_same_seed_gives_the_same_text_whatever_else_runs(platform: Platform) -> None:
    client = platform.inference
    served = await client.served("", "")
    assert (served.model, served.sae, served.feature_count) == ("tiny", SAE, FEATURES)
    assert served.has_chat_template
    nudged = Steering((Edit(FeatureKey(SAE, 3), Operation.NUDGE, 0.9),))
    ask = Ask(Prompt.ask("the sailors steered"), nudged, 11, 8, 1.0)
    alone = await client.generate(ask)
    others = [client.generate(Ask(ask.prompt, Steering(), seed, 8, 1.0)) for seed in range(12)]
    together = await asyncio.gather(client.generate(ask), *others)
    assert together[0] == alone
    assert alone.split()
    assert len(set(together)) > 6


async def test_likelihoods_come_in_order_and_under_the_steering(platform: Platform) -> None:
    client = platform.inference
    await client.served("", "")
    said = words()
    texts = [(Prompt.ask("the sea"), f"{word} {said[9]}") for word in said[:70]]
    plain = await client.score(texts, Steering())
    assert len(plain) == 70
    assert all(each.tokens == 2 and each.logprob < 0 for each in plain)
    assert (await client.score(texts[41:42], Steering()))[0].logprob == pytest.approx(
        plain[41].logprob, abs=1e-3
    )
    nudged = await client.score(texts[:1], Steering((Edit(FeatureKey(SAE, 3), Operation.NUDGE, 2.0),)))
    assert nudged[0].logprob != pytest.approx(plain[0].logprob, abs=1e-3)


async def test_a_generation_whose_caller_goes_away_frees_its_place(platform: Platform) -> None:
    client = platform.inference
    await client.served("", "")
    asked = asyncio.create_task(client.generate(Ask(Prompt.ask("the sea"), Steering(), 1, 256, 1.0)))
    await _until(lambda: platform.host.engine.pending > 0 or asked.done())
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    await _until(lambda: platform.host.engine.pending == 0)


async def _until(holds: Callable[[], bool]) -> None:
    """Returns once something holds."""
    loop = asyncio.get_running_loop()
    held: asyncio.Future[None] = loop.create_future()

    def look() -> None:
        if holds():
            held.set_result(None)
        elif not held.cancelled():
            loop.call_soon(look)

    look()
    await asyncio.wait_for(held, 30)


async def test_the_catalogue_tells_what_is_known_of_features(platform: Platform) -> None:
    catalogue = platform.catalogue
    found = await catalogue.search(SAE, "the sea and ships", 5)
    assert found[0].label.startswith("the sea and ships")
    assert found[0].promoted
    assert found[0].output_score is not None
    indices = [entry.index for entry in found]
    assert [entry.index for entry in await catalogue.entries(SAE, [*indices, 4000])] == indices
    near = await catalogue.neighbors(SAE, indices[:1], 3)
    assert indices[0] not in {entry.index for entry in near}
    likeness = await catalogue.rerank(SAE, "the sea and ships", list(range(FEATURES)))
    assert max(likeness, key=lambda index: likeness[index]) % 8 == 0
    assert await catalogue.rerank(SAE, "x", []) == {}


async def test_features_that_tell_texts_apart_are_found_with_their_activations(platform: Platform) -> None:
    client = platform.inference
    await client.served("", "")
    said = words()
    positive = [Prompt(text=f"{said[0]} {said[1]} {said[2]} {said[20 + n]}") for n in range(10)]
    negative = [Prompt(text=f"{said[5]} {said[6]} {said[7]} {said[60 + n]}") for n in range(10)]
    contrasted = await client.contrast(positive, negative, 5)
    best = max(contrasted, key=lambda each: each.auroc)
    assert best.auroc > 0.9
    rows = await client.activations([*positive, *negative], [best.index])
    assert len(rows) == 20
    mean = [sum(row.get(best.index, 0.0) for row in part) for part in (rows[:10], rows[10:])]
    assert mean[0] > mean[1]

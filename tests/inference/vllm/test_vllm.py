"""What is vLLM's own: preemption, its prefix cache, many workers, requests that end early."""

from __future__ import annotations

import queue
from dataclasses import replace

import pytest

from services.errors import EngineUnsupported
from services.inference.sampling import Sampling
from services.inference.sequence import Delta, Event, FinishReason, Started
from services.inference.vllm.engine import VllmEngine
from services.steering.conditions import Comparison, FeatureKey, Operator
from services.steering.edits import Edit, Notify, Operation, Positions, Scope, Steering
from tests.inference import driver
from tests.inference.driver import Answer, Request, sequence_of
from tests.inference.tiny import END
from tests.inference.vllm.conftest import ABSENT, INSTALLED, OneAtATime
from tests.inference.vllm.served import ask, ask_all, wide
from tests.inference.vllm.test_conformance import some_requests

pytestmark = [pytest.mark.platform, pytest.mark.skipif(not INSTALLED, reason=ABSENT)]
BLOCK = 128
"""Tokens of a block of vLLM's cache on a CPU."""
LONG = tuple((7 * n * n + 3 * n) % 250 for n in range(300))
NUDGE = Edit(FeatureKey("relu", 4), Operation.NUDGE, 1.0)
PIN = Edit(FeatureKey("gated", 5), Operation.PIN, 1.5)
GREEDY = Sampling(temperature=0, max_tokens=8, logprobs=True)
OFTEN = Comparison((FeatureKey("relu", 1),), Operator.GREATER, 0.0)


def on_torch(request: Request) -> Answer:
    return driver.answer(driver.engine_of(wide()), request, wide().saes)


def same(given: Answer, expected: Answer) -> None:
    assert given.tokens == expected.tokens
    assert given.logprobs == pytest.approx(expected.logprobs, abs=1e-3)
    assert given.triggered == expected.triggered
    assert given.finished.scope_counts == expected.finished.scope_counts
    one, two = given.finished.report, expected.finished.report
    if one is not None and two is not None:
        assert (one.edited, one.clipped) == (two.edited, two.clipped)
        assert [t.tokens for t in one.totals.values()] == [t.tokens for t in two.totals.values()]


def test_steered_and_plain_requests_never_share_cached_keys_and_values(vllm_engine: VllmEngine) -> None:
    """One prompt of two blocks, plain and under steerings at two blocks of the model, each asked twice in turn."""
    steerings = [Steering(), Steering((NUDGE,)), Steering((PIN,)), Steering((NUDGE, PIN))]
    requests = [Request(LONG, steering, GREEDY) for steering in steerings]
    first, second = ([ask(vllm_engine, request) for request in requests] for _ in range(2))
    assert [given.finished.cached_tokens for given in second] == 4 * [2 * BLOCK]
    for request, one, two in zip(requests, first, second, strict=True):
        same(one, on_torch(request))
        same(two, one)
    assert len({tuple(given.logprobs) for given in first}) == 4


@pytest.mark.parametrize("positions", [Positions.GENERATED, Positions.PROMPT])
def test_an_answer_that_becomes_a_prompt_is_steered_as_a_prompt(
    vllm_engine: VllmEngine, positions: Positions
) -> None:
    """Its keys and values, of the time when it was an answer, are not used."""
    steering = Steering((NUDGE,), positions=positions)
    first = ask(vllm_engine, Request(LONG[:250], steering, replace(GREEDY, max_tokens=150)))
    prompt = (*LONG[:250], *first.tokens)
    for next_steering in (steering, Steering()):
        request = Request(prompt, next_steering, GREEDY)
        same(ask(vllm_engine, request), on_torch(request))


def test_a_request_that_is_left_frees_its_place(vllm_engine: VllmEngine) -> None:
    told: queue.SimpleQueue[list[Event]] = queue.SimpleQueue()
    sequence = sequence_of(Request(LONG[:20], sampling=Sampling(max_tokens=400)), wide().saes, told.put)
    vllm_engine.submit(sequence)
    while not any(isinstance(event, Delta) for event in told.get(timeout=60)):
        pass
    vllm_engine.cancel(sequence)
    after = ask(vllm_engine, Request(LONG[:20], sampling=GREEDY))
    assert isinstance(after.events[0], Started)
    assert vllm_engine.pending == 0
    assert not vllm_engine._llm.has_unfinished_requests()


def test_requests_that_vllm_preempts_and_runs_again_answer_as_undisturbed(engine_with: OneAtATime) -> None:
    """Seven blocks of cache; six requests that each grow from one block to two."""
    scopes = (Scope(OFTEN, Notify("on")), Scope(OFTEN, Steering((PIN,)), latched=True))
    requests = [
        Request(
            LONG[n : n + 100],
            Steering((NUDGE,), scopes if n % 2 else ()),
            Sampling(temperature=0.8, max_tokens=60, seed=n, logprobs=True),
            report=True,
        )
        for n in range(6)
    ]
    together = ask_all(engine_with(kv_blocks=8), requests)
    for request, given in zip(requests, together, strict=True):
        same(given, on_torch(request))


@pytest.mark.parametrize(
    "split", [{"tensor_parallel": 2}, {"pipeline_parallel": 2}], ids=["tensor", "pipeline"]
)
def test_two_workers_answer_as_one(
    engine_with: OneAtATime, split: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random requests of all kinds; with a pipeline, those whose scopes lie on one stage."""
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # two workers may share a core here
    engine = engine_with(**split)
    assert len(engine.stages) == 2
    requests = [each for each in some_requests() if fits(engine, each)][:16]
    assert len(requests) == 16
    together = ask_all(engine, requests)
    for request, given in zip(requests, together, strict=True):
        same(given, on_torch(request))


def fits(engine: VllmEngine, request: Request) -> bool:
    try:
        engine.refuse(sequence_of(request, wide().saes, lambda _: None))
    except EngineUnsupported:
        return False
    return True


def test_an_end_token_and_a_stop_string_end_an_answer(engine_with: OneAtATime) -> None:
    engine = engine_with(ends=frozenset({END}))
    hot = [Request(LONG[:9], sampling=Sampling(temperature=3.0, max_tokens=80, seed=n)) for n in range(24)]
    answers = ask_all(engine, hot)
    assert any(given.reason is FinishReason.STOP for given in answers)
    assert all(END not in given.tokens for given in answers)
    free = ask(engine, Request(LONG[:9], sampling=GREEDY))
    stop = free.text[2:4]
    given = ask(engine, Request(LONG[:9], sampling=replace(GREEDY, stop=(stop,))))
    assert (given.reason, given.finished.stop) == (FinishReason.STOP, stop)
    assert given.text == free.text[: free.text.index(stop)]

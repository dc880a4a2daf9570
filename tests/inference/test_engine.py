"""The life of requests in the engine: admission, fairness, cancellation, deadlines, failures, shutdown."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import replace

import pytest
import torch

from services.errors import DeadlineUnreachable, ModelLoading, QueueFull
from services.inference.engine import EngineLimits
from services.inference.engine_thread import LONGEST_RETRY
from services.inference.model import Pass
from services.inference.sampling import Sampling
from services.inference.sequence import Delta, Event, Failed, Finished, Started
from services.steering.conditions import FeatureKey
from services.steering.edits import Edit, Operation, Steering
from tests.inference.driver import Answer, Request, answer, engine_of, finish, sequence_of, step, submit
from tests.inference.steerings import some_request
from tests.inference.tiny import tiny

SHORT = Request((1, 2, 3), sampling=Sampling(max_tokens=4, seed=1))
LONG = Request((1, 2, 3), sampling=Sampling(max_tokens=400, seed=1))
GATED = Steering((Edit(FeatureKey("relu", 1), Operation.NUDGE, 0.5),), max_nudge_entropy=3.0)


def failure(given: Answer) -> object:
    """The error that ended a request; it is the last thing that its caller hears."""
    (failed,) = [e for e in given.events if isinstance(e, Failed)]
    assert given.events[-1] is failed
    return failed.error


def test_a_request_starts_grows_and_finishes() -> None:
    given = answer(engine_of(tiny()), replace(SHORT, sampling=Sampling(max_tokens=4, seed=9)), tiny().saes)
    assert given.events[0] == Started(3, 9)
    assert len([e for e in given.events if isinstance(e, Delta) and e.choices]) == 4
    assert given.finished.completion_tokens == 4


@pytest.mark.parametrize("request_", [LONG, replace(LONG, steering=GATED)], ids=["plain", "with a shadow"])
def test_a_cancelled_request_frees_its_place_at_the_next_step(request_: Request) -> None:
    engine = engine_of(tiny(), EngineLimits(max_running=2))
    given = submit(engine, request_, tiny().saes)
    waiting = submit(engine, replace(request_, sampling=Sampling(max_tokens=2)), tiny().saes)
    for _ in range(3):
        step(engine)
    held = engine.model.kv.lanes_in_use
    assert held > 0
    engine.cancel(given.sequence)
    engine.cancel(waiting.sequence)
    told = len(given.events)
    step(engine)
    assert (engine.model.kv.lanes_in_use, engine.pending, engine.running) == (0, 0, [])
    assert len(given.events) == told


def test_a_waiting_request_can_be_cancelled() -> None:
    engine = engine_of(tiny(), EngineLimits(max_running=1))
    submit(engine, LONG, tiny().saes)
    waiting = submit(engine, SHORT, tiny().saes)
    step(engine)
    assert (engine.waiting, engine.pending) == (1, 2)
    engine.cancel(waiting.sequence)
    step(engine)
    assert (engine.waiting, engine.pending, waiting.events) == (0, 1, [])
    engine.cancel(engine.running[0])
    finish(engine)


def test_a_passed_deadline_ends_a_request_that_runs_or_waits() -> None:
    engine = engine_of(tiny(), EngineLimits(max_running=1))
    running, waiting = (submit(engine, LONG, tiny().saes) for _ in range(2))
    step(engine)
    for given in (running, waiting):
        given.sequence.deadline = time.monotonic() - 1
    step(engine)
    assert isinstance(failure(running), DeadlineUnreachable)
    assert isinstance(failure(waiting), DeadlineUnreachable)
    assert (engine.pending, engine.model.kv.lanes_in_use) == (0, 0)


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    engine = engine_of(tiny(), EngineLimits(max_running=2, max_waiting=3))
    given = [submit(engine, SHORT, tiny().saes) for _ in range(5)]
    with pytest.raises(QueueFull) as refusal:
        submit(engine, SHORT, tiny().saes)
    assert refusal.value.retry_after is not None
    assert refusal.value.retry_after >= 1
    engine._seconds_per_request = 1e6
    with pytest.raises(QueueFull) as refusal:
        submit(engine, SHORT, tiny().saes)
    assert refusal.value.retry_after == LONGEST_RETRY  # there is room long before all is done
    finish(engine)
    assert all(g.done for g in given)
    answer(engine, SHORT, tiny().saes)


def test_in_a_full_queue_an_owner_with_fewer_requests_takes_the_place_of_one_with_most() -> None:
    engine = engine_of(tiny(), EngineLimits(max_running=1, max_waiting=4))
    greedy = [submit(engine, replace(SHORT, owner="greedy"), tiny().saes) for _ in range(5)]
    step(engine)
    late = [submit(engine, replace(SHORT, owner="late"), tiny().saes) for _ in range(2)]
    with pytest.raises(QueueFull):
        submit(engine, replace(SHORT, owner="greedy"), tiny().saes)
    assert engine.pending == 7
    step(engine)
    assert engine.pending == 5
    for refused in greedy[3:]:  # what came last
        error = failure(refused)
        assert isinstance(error, QueueFull)
        assert (error.retry_after or 0) >= 1
    with pytest.raises(QueueFull):  # they have as many as the others now
        submit(engine, replace(SHORT, owner="late"), tiny().saes)
    finish(engine)
    assert all(given.finished for given in [*greedy[:3], *late])


def test_a_draining_engine_refuses_new_requests_and_finishes_the_others() -> None:
    engine = engine_of(tiny(), EngineLimits(max_running=1))
    given = [submit(engine, SHORT, tiny().saes) for _ in range(3)]
    engine.drain()
    with pytest.raises(ModelLoading):
        submit(engine, SHORT, tiny().saes)
    with pytest.raises(ModelLoading):
        engine.run_exclusively(lambda: None)
    finish(engine)
    assert all(len(g.tokens) == 4 for g in given)


def test_owners_are_served_in_turn_by_tokens() -> None:
    """One owner's many requests, and requests of twice the size, do not hold up another's."""
    engine = engine_of(tiny(), EngineLimits(max_running=1))
    order: list[str] = []

    def queue(owner: str, tokens: int) -> None:
        def sink(events: list[Event]) -> None:
            order.extend(owner for e in events if isinstance(e, Finished))

        request = replace(SHORT, owner=owner, sampling=Sampling(max_tokens=tokens))
        engine.submit(sequence_of(request, tiny().saes, sink))

    for _ in range(6):
        queue("many", 7)
    for _ in range(3):
        queue("big", 17)
    queue("late", 7)
    finish(engine)
    assert order.index("late") <= 2
    assert order[:6].count("big") <= 2  # 20 tokens each, against 10
    assert sorted(order) == sorted(["many"] * 6 + ["big"] * 3 + ["late"])


def test_long_prompts_stall_no_decoding_sequence() -> None:
    """While four prompts of 300 tokens arrive, a running one draws a token at every step."""
    engine = engine_of(tiny(), EngineLimits(prefill_busy=64))
    running = submit(engine, replace(LONG, sampling=Sampling(max_tokens=60)), tiny().saes)
    step(engine)
    for number in range(4):
        submit(
            engine, Request((number, *range(200), *range(99)), sampling=Sampling(max_tokens=1)), tiny().saes
        )
    for count in range(1, 21):
        assert len(running.tokens) == count
        step(engine)
    finish(engine)


def test_no_more_sequences_run_than_there_are_places_and_a_shadow_takes_one() -> None:
    engine = engine_of(tiny(), EngineLimits(max_running=4))
    for number in range(6):
        submit(engine, replace(SHORT, steering=GATED if number % 2 else Steering()), tiny().saes)
    most = 0
    while engine.pending:
        step(engine)
        most = max(most, engine.model.kv.lanes_in_use)
        assert sum(2 if s.shadow else 1 for s in engine.running) <= 4
    assert most >= 3


def test_a_failing_pass_ends_what_runs_and_the_engine_serves_on(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of(tiny(), EngineLimits(max_running=2))
    run, broken = engine.model.run, threading.Event()

    def fails_once(step_: Pass) -> torch.Tensor | None:
        if not broken.is_set():
            broken.set()
            raise RuntimeError("out of memory")
        return run(step_)

    monkeypatch.setattr(engine.model, "run", fails_once)
    done = [threading.Event() for _ in range(4)]
    told: list[list[Event]] = [[] for _ in range(4)]
    for number in range(4):
        engine.submit(sequence_of(SHORT, tiny().saes, _ends(told[number], done[number])))
    engine.start()
    assert all(event.wait(120) for event in done)
    engine.stop()
    ends = [type(events[-1]) for events in told]
    assert sorted(t.__name__ for t in ends) == ["Failed", "Failed", "Finished", "Finished"]
    assert (engine.pending, engine.model.kv.lanes_in_use) == (0, 0)


def _ends(told: list[Event], done: threading.Event):  # type: ignore[no-untyped-def]
    def sink(events: list[Event]) -> None:
        told.extend(events)
        if any(isinstance(e, Finished | Failed) for e in events):
            done.set()

    return sink


def test_a_caller_who_cannot_be_told_ends_nobody_else() -> None:
    engine = engine_of(tiny())

    def gone(events: list[Event]) -> None:
        raise RuntimeError("the event loop is closed")

    broken = sequence_of(LONG, tiny().saes, gone)
    engine.submit(broken)
    given = submit(engine, SHORT, tiny().saes)
    finish(engine)
    assert broken.drawn < 400
    assert given.tokens == answer(engine_of(tiny()), SHORT, tiny().saes).tokens
    assert engine.model.kv.lanes_in_use == 0


def test_stopping_tells_everyone_even_those_who_came_a_moment_before() -> None:
    engine = engine_of(tiny(), EngineLimits(max_running=1))
    given = [submit(engine, LONG, tiny().saes) for _ in range(2)]
    step(engine)
    given.append(submit(engine, LONG, tiny().saes))
    job = engine.run_exclusively(lambda: 7)
    engine.stop()
    engine._loop()  # the thread, which was never started, sees that it is to stop
    assert all(isinstance(failure(g), ModelLoading) for g in given)
    assert job.result(timeout=0) == 7
    assert (engine.pending, engine.model.kv.lanes_in_use) == (0, 0)


def test_work_between_two_steps_runs_on_the_engines_thread() -> None:
    engine = engine_of(tiny())
    engine.start()
    name = engine.run_exclusively(lambda: threading.current_thread().name).result(timeout=120)
    failing = engine.run_exclusively(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        failing.result(timeout=120)
    engine.stop()
    assert name == "engine"


def test_250_requests_a_third_cancelled_some_expired_leak_nothing() -> None:
    engine = engine_of(tiny(), EngineLimits(max_running=48))
    rng = random.Random(7)
    all_requests = [some_request(number % 25, longest_prompt=90, tokens=6) for number in range(250)]
    given = [submit(engine, request, tiny().saes) for request in all_requests]
    doomed = set(range(0, 250, 3))
    late = {number for number in range(1, 250, 10) if number not in doomed}
    remaining = sorted(doomed | late)
    rng.shuffle(remaining)
    while engine.pending:
        for number in [remaining.pop() for _ in range(min(3, len(remaining)))]:
            if number in doomed:
                engine.cancel(given[number].sequence)
            else:
                given[number].sequence.deadline = time.monotonic() - 1
        step(engine)
    assert (engine.model.kv.lanes_in_use, engine.pending, engine.waiting, engine.running) == (0, 0, 0, [])
    alone = [answer(engine_of(tiny()), all_requests[number], tiny().saes) for number in range(25)]
    for number in set(range(250)) - doomed - late:
        assert (given[number].tokens, given[number].text) == (
            alone[number % 25].tokens,
            alone[number % 25].text,
        )
        assert given[number].reason is alone[number % 25].reason
    for number in late:
        if not any(isinstance(e, Finished) for e in given[number].events):
            assert isinstance(failure(given[number]), DeadlineUnreachable)
    assert sum(1 for n in doomed if not given[n].done) > 20
    allocated = engine.model.kv.tokens_allocated
    for request in all_requests[:25]:
        answer(engine, request, tiny().saes)
    assert engine.model.kv.tokens_allocated == allocated


def test_a_sequence_may_fill_the_whole_context() -> None:
    """The last token is drawn at the context's last place."""
    engine = engine_of(tiny())
    context = tiny().model.context_length
    prompt = tuple(n % 250 for n in range(context - 3))
    scoped = some_request(12).steering
    assert scoped.scopes
    for steering in (Steering(), GATED, Steering(scopes=scoped.scopes[:1])):
        request = Request(prompt, steering, Sampling(temperature=0, max_tokens=50))
        given = answer(engine, request, tiny().saes)
        assert len(given.sequence.tokens) == context or given.finished.abort_message
    assert engine.model.kv.lanes_in_use == 0

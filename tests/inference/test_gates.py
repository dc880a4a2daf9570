"""Scopes: where conditions hold, what acts there, what is told and what ends."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from services.errors import InvalidField
from services.inference.compiled import compile_steering
from services.inference.engine import EngineLimits
from services.inference.gates import GateState
from services.inference.predicates import predicate
from services.inference.sampling import Sampling
from services.inference.sequence import FinishReason
from services.steering.conditions import AllOf, AnyOf, Comparison, Condition, FeatureKey, Not, Operator
from services.steering.edits import Abort, Edit, Notify, Operation, Positions, Scope, Steering, Unit
from tests.inference.driver import Answer, Request, answer, engine_of
from tests.inference.reference import Steerer, forward
from tests.inference.tiny import LOUD, tiny

A, B, C = FeatureKey("relu", 1), FeatureKey("relu", 2), FeatureKey("gated", 3)
ALWAYS = Comparison((A,), Operator.GREATER_OR_EQUAL, 0.0)
NEVER = Comparison((A,), Operator.LESS, 0.0)
PUSH = Edit(FeatureKey("gated", 5), Operation.NUDGE, 1.0)
LONG = tuple((7 * n * n + 3 * n) % 250 for n in range(200))
PROMPT = LONG[:12]
SMALL_CHUNKS = EngineLimits(prefill_busy=64, prefill_idle=64)


def holds(condition: Condition, **features: list[float]) -> list[bool]:
    """At which tokens the condition holds, given its features' activations there."""
    test = predicate(condition, {{"a": A, "b": B, "c": C}[name]: n for n, name in enumerate(features)})
    return [test(row) for row in np.array(list(features.values()), np.float32).T.tolist()]


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        (Operator.GREATER, [False, False, True]),
        (Operator.GREATER_OR_EQUAL, [False, True, True]),
        (Operator.LESS, [True, False, False]),
        (Operator.LESS_OR_EQUAL, [True, True, False]),
        (Operator.EQUAL, [False, True, False]),
        (Operator.NOT_EQUAL, [True, False, True]),
    ],
)
def test_each_operator_compares_with_a_number_and_with_a_set(
    operator: Operator, expected: list[bool]
) -> None:
    assert holds(Comparison((A,), operator, 0.5), a=[0.25, 0.5, 0.75]) == expected
    b, c = [0.5, 0.5, 0.5], [0.0, 0.5, 0.25]
    assert holds(Comparison((A,), operator, (B, C)), a=[0.25, 0.5, 0.75], b=b, c=c) == expected


def test_a_threshold_is_a_number_of_the_activations_precision() -> None:
    assert holds(Comparison((A,), Operator.EQUAL, 0.1), a=[0.1]) == [True]


def test_the_value_of_a_set_is_its_largest_activation() -> None:
    condition = Comparison((A, B), Operator.GREATER, (C,))
    assert holds(condition, a=[0.1, 0.9, 0.1], b=[0.2, 0.2, 0.8], c=[0.5, 0.5, 0.5]) == [False, True, True]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (AllOf((Comparison((A,), Operator.GREATER, 0.5), Comparison((B,), Operator.GREATER, 0.5))), "0001"),
        (AnyOf((Comparison((A,), Operator.GREATER, 0.5), Comparison((B,), Operator.GREATER, 0.5))), "0111"),
        (Not(Comparison((A,), Operator.GREATER, 0.5)), "1010"),
        (
            Not(
                AnyOf((Comparison((A,), Operator.GREATER, 0.5), Not(Comparison((B,), Operator.GREATER, 0.5))))
            ),
            "0010",
        ),
        (
            AllOf((Not(NEVER), AnyOf((NEVER, Not(AllOf((ALWAYS, Comparison((B,), Operator.LESS, 0.5)))))))),
            "0011",
        ),
    ],
)
def test_conditions_are_joined_and_nested(condition: Condition, expected: str) -> None:
    assert holds(condition, a=[0, 1, 0, 1], b=[0, 0, 1, 1]) == [digit == "1" for digit in expected]


def evaluate(steering: Steering, layer: int, *, raw: list[float], position: int) -> GateState:
    """The scopes of a request after a block whose only feature that is read has these raw activations."""
    compiled = compile_steering(steering, tiny().saes)
    state, plan = GateState(compiled), compiled.layers[layer]
    state.evaluate(plan, position, (torch.tensor(raw) / plan.units[0]).tolist(), [True] * len(raw))
    return state


@pytest.mark.parametrize(("unit", "raw_of_one"), [(Unit.NATURAL, "scale"), (Unit.RAW, "one")])
def test_thresholds_are_in_activation_units_or_raw(unit: Unit, raw_of_one: str) -> None:
    steering = Steering(scopes=(Scope(Comparison((A,), Operator.GREATER, 1.0), Notify()),), unit=unit)
    one = float(tiny().saes["relu"].scales[A.index]) if raw_of_one == "scale" else 1.0  # type: ignore[index]
    state = evaluate(steering, 1, raw=[0.99 * one, 1.01 * one], position=5)
    assert [t.position for t in state.triggers] == [6]


def test_activations_below_the_nonzero_threshold_count_as_zero() -> None:
    scopes = (Scope(Comparison((A,), Operator.GREATER, 0.0), Notify()),)
    steering = Steering(scopes=scopes, unit=Unit.RAW, nonzero_strength_threshold=0.5)
    state = evaluate(steering, 1, raw=[0.0, 0.25, 0.5, 0.75], position=10)
    assert [t.position for t in state.triggers] == [12, 13]


def ask(
    *scopes: Scope, limits: EngineLimits | None = None, prompt: tuple[int, ...] = PROMPT, **settings: object
) -> Answer:
    sampling = Sampling(temperature=0, max_tokens=8, logprobs=True)
    request = Request(prompt, Steering(scopes=scopes, max_delta=3.0, **settings), sampling)  # type: ignore[arg-type]
    return answer(engine_of(tiny(), limits), request, tiny().saes)


def where(key: FeatureKey, tokens: list[int]) -> list[int]:
    """Positions at which a feature fires, unsteered; the first one is a sink."""
    raw = raw_activations(tuple(tokens))[key.sae]
    return [position for position in range(1, len(tokens)) if raw[position][key.index] > 0]


@cache
def raw_activations(tokens: tuple[int, ...]) -> dict[str, dict[int, list[float]]]:
    steerer = Steerer(tiny(), Steering(), len(tokens), None)
    forward(tiny(), list(tokens), steerer.at_block)
    return steerer.raw


def test_a_notify_tells_each_token_and_the_generation_goes_on() -> None:
    plain = ask()
    told = ask(Scope(Comparison((A,), Operator.GREATER, 0.0), Notify("seen")))
    everything = [*PROMPT, *plain.tokens]
    assert told.tokens == plain.tokens
    assert told.triggered == [("seen", position, (0,)) for position in where(A, everything)]
    assert 0 < len(told.triggered) < len(everything)


def test_a_latched_notify_tells_once() -> None:
    told = ask(Scope(Comparison((A,), Operator.GREATER, 0.0), Notify("seen"), latched=True))
    assert told.triggered == [("seen", where(A, list(PROMPT))[0], (0,))]


def test_a_latched_notify_inside_a_scope_tells_once_though_the_outer_one_comes_and_goes() -> None:
    inner = Scope(ALWAYS, Notify("seen"), latched=True)
    told = ask(Scope(Comparison((A,), Operator.GREATER, 0.0), Steering(scopes=(inner,))))
    assert len([path for _, _, path in told.triggered if path == (0,)]) > 1
    assert [event for event in told.triggered if event[2] == (0, 0)] == [
        ("seen", told.triggered[0][1], (0, 0))
    ]


def test_a_latched_notify_tells_once_though_a_sink_stands_between() -> None:
    prompt = (*PROMPT[:6], LOUD, *PROMPT[6:])
    assert len(ask(Scope(ALWAYS, Notify("seen"), latched=True), prompt=prompt).triggered) == 1
    positions = [position for _, position, _ in ask(Scope(ALWAYS, Notify("seen")), prompt=prompt).triggered]
    assert 6 not in positions
    assert 0 not in positions
    assert {5, 7} <= set(positions)


def test_a_scope_of_edits_tells_the_first_token_of_each_run() -> None:
    fires = where(A, list(LONG[:40]))
    told = ask(Scope(Comparison((A,), Operator.GREATER, 0.0), Steering((PUSH,))), prompt=LONG[:40])
    starts = [position for position in fires if position - 1 not in fires]
    assert [position for _, position, _ in told.triggered if position < 40] == starts
    assert 1 < len(starts) < len(fires)


def begins_late() -> tuple[FeatureKey, int]:
    """A feature that first fires some way into the first chunk of the long prompt, and where."""
    firsts = {key: (where(key, list(LONG)) or [0])[0] for key in (FeatureKey("topk", n) for n in range(40))}
    return next((key, first) for key, first in firsts.items() if 5 < first < 60)


def test_a_latch_holds_from_its_first_token_through_chunks_of_the_prompt_and_the_generation() -> None:
    """Its condition holds at one token of the first chunk; the last reports of it are in the generated tokens."""
    key, first = begins_late()
    once = Comparison((key,), Operator.GREATER, 0.0)
    latched = ask(
        Scope(once, Steering(scopes=(Scope(ALWAYS, Notify("on")),)), latched=True),
        limits=SMALL_CHUNKS,
        prompt=LONG,
    )
    on = [position for event, position, _ in latched.triggered if event == "on"]
    assert on == list(range(first, len(LONG) + 8))


@pytest.mark.parametrize("limits", [EngineLimits(), SMALL_CHUNKS], ids=["one chunk", "small chunks"])
def test_an_abort_in_the_prompt_emits_nothing(limits: EngineLimits) -> None:
    key, first = begins_late()
    ended = ask(
        Scope(Comparison((key,), Operator.GREATER, 0.0), Abort("enough")),
        Scope(ALWAYS, Notify("before")),
        limits=limits,
        prompt=LONG,
    )
    assert (ended.tokens, ended.text, ended.reason) == ([], "", FinishReason.ABORTED)
    assert ended.finished.abort_message == "enough"
    told = [position for event, position, _ in ended.triggered if event == "before"]
    assert told == list(range(1, first + 1))


def generated_only(number: int) -> tuple[Answer, Answer]:
    """The plain answer, and one that aborts at a generated token: the one that first fires one of its features."""
    plain = ask()
    fires = {k: where(FeatureKey("jump", k), [*PROMPT, *plain.tokens]) for k in range(40)}
    at = len(PROMPT) + number
    key = next(
        k
        for k, positions in fires.items()
        if at in positions and not set(positions) & set(range(len(PROMPT), at))
    )
    abort = Scope(Comparison((FeatureKey("jump", key),), Operator.GREATER, 0.0), Abort("no"))
    return plain, ask(abort, positions=Positions.GENERATED)


@pytest.mark.parametrize("number", [0, 3, 7])
def test_an_abort_ends_before_the_token_that_matched_even_the_last(number: int) -> None:
    """Token 7 is the one at max_tokens."""
    plain, ended = generated_only(number)
    assert len(plain.tokens) == 8
    assert ended.tokens == plain.tokens[:number]
    assert ended.reason is FinishReason.ABORTED


def test_an_abort_inside_a_scope_is_tried_only_where_that_one_acts() -> None:
    inside = Scope(ALWAYS, Abort("no"))
    assert ask(Scope(NEVER, Steering(scopes=(inside,)))).reason is FinishReason.LENGTH
    assert ask(Scope(ALWAYS, Steering(scopes=(inside,)))).reason is FinishReason.ABORTED


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        (Positions.ALL, range(1, 20)),
        (Positions.PROMPT, range(1, 12)),
        (Positions.GENERATED, range(12, 20)),
    ],
)
def test_positions_limit_where_scopes_are_tried(positions: Positions, expected: range) -> None:
    told = ask(Scope(ALWAYS, Notify("on")), positions=positions)
    assert [position for _, position, _ in told.triggered] == list(expected)
    assert told.finished.scope_counts == {(0,): (len(expected), len(expected))}


def test_nothing_is_latched_at_positions_that_are_left_out() -> None:
    """A feature that fires in the prompt only does not switch on a latch of the generated tokens."""
    plain = ask()
    everything = [*PROMPT, *plain.tokens]
    fires = {k: where(FeatureKey("jump", k), everything) for k in range(40)}
    key = next(k for k, positions in fires.items() if positions and max(positions) < len(PROMPT))
    scope = Scope(Comparison((FeatureKey("jump", key),), Operator.GREATER, 0.0), Notify("on"), latched=True)
    assert ask(scope).triggered
    assert not ask(scope, positions=Positions.GENERATED).triggered


def test_a_condition_on_a_later_block_than_its_edit_is_refused() -> None:
    late = Comparison((C,), Operator.GREATER, 0.0)
    early_edit = Steering((PUSH, Edit(A, Operation.PIN, 1.0)))
    with pytest.raises(InvalidField) as refusal:
        compile_steering(Steering(scopes=(Scope(late, early_edit),)), tiny().saes)
    assert refusal.value.field == "steering.scopes[0].steering.edits[1]"
    nested = Steering(
        scopes=(Scope(ALWAYS, PUSH_NOTHING), Scope(late, Steering(scopes=(Scope(ALWAYS, early_edit),))))
    )
    with pytest.raises(InvalidField) as refusal:
        compile_steering(nested, tiny().saes)
    assert refusal.value.field == "steering.scopes[1].steering.scopes[0].steering.edits[1]"


PUSH_NOTHING = Steering((replace(PUSH, value=0.0),))


def test_a_scope_known_at_a_later_block_is_not_tried_at_a_sink_of_that_block() -> None:
    """The outer scope is decided at block 1, where the token is none."""
    inner = Scope(Comparison((C,), Operator.GREATER_OR_EQUAL, 0.0), Notify("in"))
    steering = Steering(scopes=(Scope(ALWAYS, Steering(scopes=(inner,))),))
    compiled = compile_steering(steering, tiny().saes)
    state = GateState(compiled)
    state.evaluate(compiled.layers[1], 5, [1.0, 1.0], [True, True])
    state.evaluate(compiled.layers[2], 5, [1.0, 1.0], [True, False])
    assert [t.position for t in state.triggers if t.scope.path == (0, 0)] == [5]


def test_events_at_one_position_come_by_block_then_as_listed() -> None:
    late = Comparison((C,), Operator.GREATER_OR_EQUAL, 0.0)
    told = ask(Scope(late, Notify("late")), Scope(ALWAYS, Notify("one")), Scope(ALWAYS, Notify("two")))
    assert [event for event, position, _ in told.triggered if position == 4] == ["one", "two", "late"]
    positions = [position for _, position, _ in told.triggered]
    assert positions == sorted(positions)

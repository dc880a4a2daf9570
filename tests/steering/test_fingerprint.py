"""Claims about fingerprints."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given

from services.steering.conditions import AllOf, AnyOf, Comparison, FeatureKey, Operator
from services.steering.edits import Edit, Notify, Operation, Positions, Scope, Steering, Unit
from services.steering.fingerprint import fingerprint
from services.steering.wire import steering_from_proto, steering_to_proto
from tests.steering.strategies import many, steerings

NUDGE = Edit(FeatureKey("sae", 1), Operation.NUDGE, 0.1)
HOLDS = Comparison((FeatureKey("sae", 1),), Operator.GREATER, 0.5)


@many
@given(steerings(), steerings())
def test_equal_steerings_and_only_those_have_one_fingerprint(first: Steering, second: Steering) -> None:
    assert (fingerprint(first) == fingerprint(second)) == (first == second)


@many
@given(steerings())
def test_the_wire_keeps_the_fingerprint(steering: Steering) -> None:
    assert fingerprint(steering_from_proto(steering_to_proto(steering))) == fingerprint(steering)


def test_it_is_the_same_after_a_restart() -> None:
    assert (
        fingerprint(Steering(edits=(NUDGE,)))
        == "ec22b313e6f68f76db076e1969afd0a925451e6500230396dcdf10d908325494"
    )


def test_every_part_counts() -> None:
    base = Steering(edits=(NUDGE,))
    others = [
        Steering(),
        replace(base, edits=(replace(NUDGE, value=math.nextafter(0.1, 1)),)),
        replace(base, edits=(replace(NUDGE, operation=Operation.PIN),)),
        replace(base, edits=(replace(NUDGE, feature=FeatureKey("sae", 2)),)),
        replace(base, edits=(replace(NUDGE, feature=FeatureKey("other", 1)),)),
        replace(base, edits=(NUDGE, NUDGE)),
        replace(base, unit=Unit.RAW),
        replace(base, positions=Positions.PROMPT),
        replace(base, max_delta=0.5),
        replace(base, min_nudge_entropy=0.0),
        replace(base, max_nudge_entropy=0.0),
        replace(base, nonzero_strength_threshold=0.1),
        replace(base, scopes=(Scope(HOLDS, Steering()),)),
        replace(base, scopes=(Scope(HOLDS, Steering(), latched=True),)),
        replace(base, scopes=(Scope(HOLDS, Notify()),)),
        replace(base, scopes=(Scope(AllOf((HOLDS,)), Notify()),)),
        replace(base, scopes=(Scope(AnyOf((HOLDS,)), Notify()),)),
    ]
    assert len({fingerprint(steering) for steering in [base, *others]}) == len(others) + 1


def test_the_order_of_nudges_counts() -> None:
    other = replace(NUDGE, value=0.2)
    assert fingerprint(Steering(edits=(NUDGE, other))) != fingerprint(Steering(edits=(other, NUDGE)))


def test_whole_numbers_count_as_floats() -> None:
    one, whole = replace(NUDGE, value=1.0), replace(NUDGE, value=1)
    zero, minus_zero = replace(NUDGE, value=0.0), replace(NUDGE, value=-0.0)
    assert fingerprint(Steering(edits=(one,))) == fingerprint(Steering(edits=(whole,)))
    assert fingerprint(Steering(edits=(zero,))) == fingerprint(Steering(edits=(minus_zero,)))

"""Claims about the checks that need no message."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from services.errors import InvalidField
from services.steering.conditions import AllOf, AnyOf, Comparison, Condition, FeatureKey, Not, Operator
from services.steering.edits import Abort, Edit, Notify, Operation, Positions, Scope, Steering, Unit
from services.steering.validation import validate
from tests.steering.strategies import many, steerings

FEATURE = FeatureKey("", 0)
HOLDS = Comparison((FEATURE,), Operator.GREATER, 0.5)


def scoped(when: Condition = HOLDS, **nested: object) -> Steering:
    action = replace(Steering(), **nested) if nested else Notify()
    return Steering(scopes=(Scope(when, action),))


def deep(condition: Condition, depth: int) -> Condition:
    for _ in range(depth - 1):
        condition = Not(condition)
    return condition


@many
@given(steerings())
def test_valid_steerings_pass(steering: Steering) -> None:
    validate(steering)


@pytest.mark.parametrize(
    ("steering", "path"),
    [
        (Steering(edits=(Edit(FEATURE, Operation.PIN, float("nan")),)), "edits[0].pin"),
        (Steering(edits=(Edit(FeatureKey("", -1), Operation.PIN, 0),)), "edits[0].feature.index"),
        (Steering(edits=(Edit(FeatureKey("", 2**32), Operation.PIN, 0),)), "edits[0].feature.index"),
        (Steering(max_delta=0), "max_delta"),
        (scoped(unit=Unit.RAW), "scopes[0].steering.unit"),
        (scoped(positions=Positions.PROMPT), "scopes[0].steering.positions"),
        (scoped(max_delta=2.0), "scopes[0].steering.max_delta"),
        (scoped(min_nudge_entropy=0.0), "scopes[0].steering.min_nudge_entropy"),
        (scoped(max_nudge_entropy=0.0), "scopes[0].steering.max_nudge_entropy"),
        (scoped(nonzero_strength_threshold=0.1), "scopes[0].steering.nonzero_strength_threshold"),
        (scoped(replace(HOLDS, right=1e39)), "scopes[0].when.comparison.threshold"),
        (scoped(replace(HOLDS, left=())), "scopes[0].when.comparison.left.features"),
        (
            scoped(replace(HOLDS, right=(FEATURE, FeatureKey("", -1)))),
            "scopes[0].when.comparison.features.features[1].index",
        ),
        (scoped(AllOf(())), "scopes[0].when.all.conditions"),
        (scoped(AnyOf((HOLDS,) * 65)), "scopes[0].when.any.conditions"),
        (scoped(deep(HOLDS, 9)), "scopes[0].when" + ".negation" * 8),
        (Steering(scopes=(Scope(HOLDS, Abort("x" * 1025)),)), "scopes[0].abort.message"),
        (Steering(scopes=(Scope(HOLDS, Notify()),) * 257), "scopes"),
    ],
)
def test_a_fault_is_refused_with_its_path(steering: Steering, path: str) -> None:
    with pytest.raises(InvalidField) as refused:
        validate(steering, "base")
    assert refused.value.field == f"base.{path}"


def test_scopes_may_be_nested_8_deep_and_not_9() -> None:
    def nested(depth: int) -> Steering:
        return Steering(scopes=(Scope(HOLDS, nested(depth - 1)),)) if depth else Steering()

    validate(nested(8))
    with pytest.raises(InvalidField, match="at most 8 deep"):
        validate(nested(9))
    validate(scoped(deep(HOLDS, 8)))

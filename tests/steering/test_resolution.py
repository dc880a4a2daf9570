"""Claims about how names become features of a model."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from services.errors import FeatureOutOfRange, HearthError, InvalidField, SaeNotServed
from services.steering.conditions import AllOf, Comparison, FeatureKey, Not, Operator
from services.steering.edits import Edit, Operation, Scope, Steering
from services.steering.resolution import resolve, resolve_sae
from tests.steering.strategies import SAES, many, steerings

ONE = {"only": 10}


def scoped(feature: FeatureKey) -> Steering:
    comparison = Comparison((FeatureKey("", 1),), Operator.LESS, (FeatureKey("", 2), feature))
    return Steering(scopes=(Scope(Not(AllOf((comparison,))), Steering()),))


@many
@given(steerings())
def test_full_names_stay_as_they_are(steering: Steering) -> None:
    assert resolve(steering, SAES) == steering


def test_an_empty_sae_is_the_models_only_one_everywhere() -> None:
    nested = Steering(edits=(Edit(FeatureKey("", 9), Operation.PIN, 0.0),))
    steering = replace(scoped(FeatureKey("only", 3)), edits=(Edit(FeatureKey("", 0), Operation.NUDGE, 1.0),))
    steering = replace(steering, scopes=(replace(steering.scopes[0], action=nested),))
    resolved = resolve(steering, ONE)
    assert "''" not in repr(resolved)
    assert repr(resolved) == repr(steering).replace("sae=''", "sae='only'")


@pytest.mark.parametrize(
    ("steering", "saes", "error", "path"),
    [
        (
            Steering(edits=(Edit(FeatureKey("", 10), Operation.PIN, 0),)),
            ONE,
            FeatureOutOfRange,
            "edits[0].feature.index",
        ),
        (
            Steering(edits=(Edit(FeatureKey("other", 1), Operation.PIN, 0),)),
            ONE,
            SaeNotServed,
            "edits[0].feature.sae",
        ),
        (
            Steering(edits=(Edit(FeatureKey("", 1), Operation.PIN, 0),)),
            {},
            SaeNotServed,
            "edits[0].feature.sae",
        ),
        (
            Steering(edits=(Edit(FeatureKey("", 1), Operation.PIN, 0),)),
            SAES,
            InvalidField,
            "edits[0].feature.sae",
        ),
        (
            scoped(FeatureKey("other", 1)),
            ONE,
            SaeNotServed,
            "scopes[0].when.negation.all.conditions[0].comparison.features.features[1].sae",
        ),
        (
            scoped(FeatureKey("only", 10)),
            ONE,
            FeatureOutOfRange,
            "scopes[0].when.negation.all.conditions[0].comparison.features.features[1].index",
        ),
        (
            Steering(
                edits=(
                    Edit(FeatureKey("", 1), Operation.PIN, 0),
                    Edit(FeatureKey("only", 1), Operation.SCALE, 0),
                )
            ),
            ONE,
            InvalidField,
            "edits[1].scale",
        ),
    ],
)
def test_what_does_not_exist_is_refused_with_its_path(
    steering: Steering, saes: dict[str, int], error: type[HearthError], path: str
) -> None:
    with pytest.raises(error) as refused:
        resolve(steering, saes, "request.steering")
    assert refused.value.field == f"request.steering.{path}"


def test_the_message_names_the_choices() -> None:
    with pytest.raises(InvalidField, match="first, second"):
        resolve_sae("", SAES, "sae")
    with pytest.raises(SaeNotServed, match="loaded: first, second"):
        resolve_sae("third", SAES, "sae")

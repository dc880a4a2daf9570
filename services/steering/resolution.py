"""From the names in a request to features that exist on a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

from services.errors import FeatureOutOfRange, InvalidField, SaeNotServed
from services.steering.conditions import AllOf, AnyOf, Comparison, Condition, FeatureKey, Not
from services.steering.edits import Abort, Notify, Scope, Steering
from services.steering.validation import check_duplicates


def resolve(steering: Steering, saes: Mapping[str, int], field: str = "steering") -> Steering:
    """The same steering with every SAE id filled in.

    `saes` gives the number of features of each SAE on the model; `field` is the path of the steering in the request.
    Raises SaeNotServed, FeatureOutOfRange, or InvalidField where an empty id could mean several SAEs or where an empty
    and a full id pin or scale the same feature.
    """
    edits_field = f"{field}.edits"
    edits = tuple(
        replace(edit, feature=resolve_feature(edit.feature, saes, f"{edits_field}[{number}].feature"))
        for number, edit in enumerate(steering.edits)
    )
    check_duplicates(edits, edits_field)
    scopes = tuple(
        _resolve_scope(scope, saes, f"{field}.scopes[{number}]")
        for number, scope in enumerate(steering.scopes)
    )
    return replace(steering, edits=edits, scopes=scopes)


def resolve_feature(feature: FeatureKey, saes: Mapping[str, int], field: str) -> FeatureKey:
    """The same feature with its SAE id filled in; raises as `resolve` does, `field` being the feature's path."""
    sae = resolve_sae(feature.sae, saes, f"{field}.sae")
    count = saes[sae]
    if not 0 <= feature.index < count:
        raise FeatureOutOfRange(f"{field}.index", feature.index, count)
    return feature if sae == feature.sae else FeatureKey(sae, feature.index)


def resolve_sae(sae: str, saes: Mapping[str, int], field: str) -> str:
    """The SAE's id; an empty one means the model's only SAE. Raises SaeNotServed or InvalidField."""
    if sae in saes:
        return sae
    if sae or not saes:
        raise SaeNotServed(field, sae, sorted(saes))
    if len(saes) > 1:
        raise InvalidField(field, f"this model has several SAEs; name one of {', '.join(sorted(saes))}")
    return next(iter(saes))


def _resolve_scope(scope: Scope, saes: Mapping[str, int], field: str) -> Scope:
    when = _resolve_condition(scope.when, saes, f"{field}.when")
    match scope.action:
        case Steering() as nested:
            return replace(scope, when=when, action=resolve(nested, saes, f"{field}.steering"))
        case Abort() | Notify():
            return replace(scope, when=when)
        case _:
            assert_never(scope.action)


def _resolve_condition(condition: Condition, saes: Mapping[str, int], field: str) -> Condition:
    match condition:
        case Comparison(left, operator, right):
            resolved = _resolve_features(left, saes, f"{field}.comparison.left.features")
            if isinstance(right, tuple):
                right = _resolve_features(right, saes, f"{field}.comparison.features.features")
            return Comparison(resolved, operator, right)
        case AllOf(conditions):
            return AllOf(_resolve_group(conditions, saes, f"{field}.all.conditions"))
        case AnyOf(conditions):
            return AnyOf(_resolve_group(conditions, saes, f"{field}.any.conditions"))
        case Not(inner):
            return Not(_resolve_condition(inner, saes, f"{field}.negation"))
        case _:
            assert_never(condition)


def _resolve_group(
    conditions: tuple[Condition, ...], saes: Mapping[str, int], field: str
) -> tuple[Condition, ...]:
    return tuple(
        _resolve_condition(condition, saes, f"{field}[{number}]")
        for number, condition in enumerate(conditions)
    )


def _resolve_features(
    features: tuple[FeatureKey, ...], saes: Mapping[str, int], field: str
) -> tuple[FeatureKey, ...]:
    return tuple(
        resolve_feature(feature, saes, f"{field}[{number}]") for number, feature in enumerate(features)
    )

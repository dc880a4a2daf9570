"""Variants as steerings, and back; what a steering says survives both ways."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import get_args

from hearth_client.conditions import AllOf, AnyOf, Comparison, Condition, Not, Operator
from hearth_client.features import Feature
from hearth_client.v1 import steering_pb2 as pb
from hearth_client.variant import Edit, FeatureEdits, Limits, Scope, Variant

_OPERATORS: dict[Operator, pb.Comparison.Operator.ValueType] = {
    ">": pb.Comparison.OPERATOR_GREATER,
    ">=": pb.Comparison.OPERATOR_GREATER_OR_EQUAL,
    "<": pb.Comparison.OPERATOR_LESS,
    "<=": pb.Comparison.OPERATOR_LESS_OR_EQUAL,
    "==": pb.Comparison.OPERATOR_EQUAL,
    "!=": pb.Comparison.OPERATOR_NOT_EQUAL,
}
_OPERATOR_OF = {value: operator for operator, value in _OPERATORS.items()}
_UNITS = {"natural": pb.UNIT_NATURAL, "raw": pb.UNIT_RAW}
_POSITIONS = {
    "all": pb.POSITIONS_ALL,
    "prompt": pb.POSITIONS_PROMPT,
    "generated": pb.POSITIONS_GENERATED,
}
_OPTIONAL = ("max_delta", "min_nudge_entropy", "max_nudge_entropy", "nonzero_strength_threshold")
assert set(_OPERATORS) == set(get_args(Operator))


def key(feature: Feature) -> pb.FeatureKey:
    """What names a feature."""
    return pb.FeatureKey(sae=feature.sae, index=feature.index_in_sae)


def steering(variant: Variant, *, events: bool = True) -> pb.Steering:
    """What a variant changes. Without `events`, aborts and events are left out, which reading calls refuse."""
    message = pb.Steering(
        edits=map(_edit, variant.edits),
        scopes=_scopes(variant.scopes, events),
        unit=_UNITS[variant.limits.unit],
        positions=_POSITIONS[variant.limits.positions],
    )
    for name in _OPTIONAL:
        if (value := getattr(variant.limits, name)) is not None:
            setattr(message, name, value)
    return message


def variant_of(message: pb.Steering, base_model: str = "") -> Variant:
    """The variant that a steering is."""
    limits = Limits(
        unit="raw" if message.unit == pb.UNIT_RAW else "natural",
        positions={pb.POSITIONS_PROMPT: "prompt", pb.POSITIONS_GENERATED: "generated"}.get(
            message.positions, "all"
        ),  # type: ignore[arg-type]
        **{name: shortest(getattr(message, name)) for name in _OPTIONAL if message.HasField(name)},  # type: ignore[arg-type]
    )
    variant = Variant(base_model, limits=limits)
    variant.edits = _edits_of(message)
    variant.scopes = list(map(_scope_of, message.scopes))
    return variant


def condition(wanted: Condition) -> pb.Condition:
    """A condition as a message."""
    match wanted:
        case Comparison(left, operator, right):
            message = pb.Comparison(left=_set(left), operator=_OPERATORS[operator])
            if isinstance(right, tuple):
                message.features.CopyFrom(_set(right))
            else:
                message.threshold = right
            return pb.Condition(comparison=message)
        case AllOf(conditions):
            return pb.Condition(all=pb.ConditionGroup(conditions=map(condition, conditions)))
        case AnyOf(conditions):
            return pb.Condition(any=pb.ConditionGroup(conditions=map(condition, conditions)))
        case Not(inner):
            return pb.Condition(negation=condition(inner))
    raise TypeError(f"{wanted!r} is no condition; compare features (feature > 0.5) and join with &, | and ~")


def condition_of(message: pb.Condition) -> Condition:
    """The condition that a message is."""
    match message.WhichOneof("expression"):
        case "comparison":
            return _comparison_of(message.comparison)
        case "all":
            return AllOf(tuple(map(condition_of, message.all.conditions)))
        case "any":
            return AnyOf(tuple(map(condition_of, message.any.conditions)))
        case _:
            return Not(condition_of(message.negation))


def edits_of(messages: Iterable[pb.Edit]) -> FeatureEdits:
    """The edits that messages are."""
    return FeatureEdits(map(_edit_of, messages))


def shortest(value: float) -> float:
    """The shortest decimal number that is this one as a float32, which is what messages hold: 0.9, not 0.89999998."""
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        if struct.unpack("<f", struct.pack("<f", short)) == (value,):
            return short
    return value


def _edit(edit: Edit) -> pb.Edit:
    message = pb.Edit(feature=key(edit.feature))
    setattr(message, edit.mode, edit.value)
    return message


def _edit_of(message: pb.Edit) -> Edit:
    mode = message.WhichOneof("operation") or "nudge"
    return Edit(_feature(message.feature), shortest(getattr(message, mode)), mode)


def _edits_of(message: pb.Steering) -> FeatureEdits:
    return edits_of(message.edits)


def _scopes(scopes: Iterable[Scope], events: bool) -> Iterable[pb.Scope]:
    for scope in scopes:
        message = pb.Scope(when=condition(scope.condition), latched=scope.latched)
        if scope.abort is not None or scope.event is not None:
            if not events:
                continue
            if scope.abort is not None:
                message.abort.message = scope.abort
            else:
                message.notify.event = scope.event or ""
        else:
            nested = pb.Steering(edits=map(_edit, scope.edits), scopes=_scopes(scope.scopes, events))
            message.steering.CopyFrom(nested)
        yield message


def _scope_of(message: pb.Scope) -> Scope:
    action = message.WhichOneof("action")
    return Scope(
        condition_of(message.when),
        edits=_edits_of(message.steering),
        scopes=tuple(map(_scope_of, message.steering.scopes)),
        abort=message.abort.message if action == "abort" else None,
        event=message.notify.event if action == "notify" else None,
        latched=message.latched,
    )


def _comparison_of(message: pb.Comparison) -> Comparison:
    right = (
        tuple(map(_feature, message.features.features))
        if message.WhichOneof("right") == "features"
        else shortest(message.threshold)
    )
    return Comparison(
        tuple(map(_feature, message.left.features)), _OPERATOR_OF.get(message.operator, ">"), right
    )


def _set(features: Iterable[Feature]) -> pb.FeatureSet:
    return pb.FeatureSet(features=map(key, features))


def _feature(message: pb.FeatureKey) -> Feature:
    return Feature(message.index, sae=message.sae)

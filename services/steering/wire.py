"""Steering on the wire: `hearth.v1` messages to the dataclasses of this package and back.

What only a message can get wrong (a oneof or a message that is not set, an unknown enum number) is refused here;
everything else in validation.py. What costs memory is counted before it is converted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeVar

from hearth.v1 import steering_pb2 as pb
from services.errors import InvalidField
from services.steering.conditions import AllOf, AnyOf, Comparison, Condition, FeatureKey, Not, Operator
from services.steering.edits import (
    DEFAULT_MAX_DELTA,
    Abort,
    Edit,
    Notify,
    Operation,
    Positions,
    Scope,
    Steering,
    Unit,
)
from services.steering.validation import (
    Tally,
    check_group_size,
    check_set_size,
    refuse_nested_setting,
    validate,
)

_Value = TypeVar("_Value")

_UNITS: dict[int, Unit] = {
    pb.UNIT_UNSPECIFIED: Unit.NATURAL,
    pb.UNIT_NATURAL: Unit.NATURAL,
    pb.UNIT_RAW: Unit.RAW,
}
_POSITIONS: dict[int, Positions] = {
    pb.POSITIONS_UNSPECIFIED: Positions.ALL,
    pb.POSITIONS_ALL: Positions.ALL,
    pb.POSITIONS_PROMPT: Positions.PROMPT,
    pb.POSITIONS_GENERATED: Positions.GENERATED,
}
_OPERATORS: dict[int, Operator] = {
    pb.Comparison.OPERATOR_GREATER: Operator.GREATER,
    pb.Comparison.OPERATOR_GREATER_OR_EQUAL: Operator.GREATER_OR_EQUAL,
    pb.Comparison.OPERATOR_LESS: Operator.LESS,
    pb.Comparison.OPERATOR_LESS_OR_EQUAL: Operator.LESS_OR_EQUAL,
    pb.Comparison.OPERATOR_EQUAL: Operator.EQUAL,
    pb.Comparison.OPERATOR_NOT_EQUAL: Operator.NOT_EQUAL,
}
_OPERATIONS = {operation.value: operation for operation in Operation}
_LIMITS: tuple[
    Literal["max_delta", "min_nudge_entropy", "max_nudge_entropy", "nonzero_strength_threshold"], ...
] = ("max_delta", "min_nudge_entropy", "max_nudge_entropy", "nonzero_strength_threshold")


def steering_from_proto(message: pb.Steering, field: str = "steering") -> Steering:
    """The steering of a request, validated. Raises InvalidField; `field` is the path of `message` in the request."""
    steering = _level_from_proto(message, field, 1, Tally())
    validate(steering, field)
    return steering


def steering_to_proto(steering: Steering) -> pb.Steering:
    """The message of a steering, its defaults filled in."""
    message = _level_to_proto(steering)
    message.unit = pb.UNIT_RAW if steering.unit is Unit.RAW else pb.UNIT_NATURAL
    message.positions = pb.Positions.Value(f"POSITIONS_{steering.positions.name}")
    message.max_delta = steering.max_delta
    if steering.min_nudge_entropy is not None:
        message.min_nudge_entropy = steering.min_nudge_entropy
    if steering.max_nudge_entropy is not None:
        message.max_nudge_entropy = steering.max_nudge_entropy
    message.nonzero_strength_threshold = steering.nonzero_strength_threshold
    return message


def feature_from_proto(message: pb.FeatureKey) -> FeatureKey:
    """The feature that a message names; a default message is feature 0 of the model's only SAE."""
    return FeatureKey(message.sae, message.index)


def feature_to_proto(feature: FeatureKey) -> pb.FeatureKey:
    """The message that names a feature."""
    return pb.FeatureKey(sae=feature.sae, index=feature.index)


def edit_to_proto(edit: Edit) -> pb.Edit:
    """The message of one edit."""
    message = pb.Edit(feature=feature_to_proto(edit.feature))
    match edit.operation:
        case Operation.NUDGE:
            message.nudge = edit.value
        case Operation.PIN:
            message.pin = edit.value
        case Operation.SCALE:
            message.scale = edit.value
    return message


def condition_to_proto(condition: Condition) -> pb.Condition:
    """The message of a condition."""
    match condition:
        case Comparison(left, operator, right):
            comparison = pb.Comparison(
                left=_features_to_proto(left),
                operator=pb.Comparison.Operator.Value(f"OPERATOR_{operator.name}"),
            )
            if isinstance(right, tuple):
                comparison.features.CopyFrom(_features_to_proto(right))
            else:
                comparison.threshold = right
            return pb.Condition(comparison=comparison)
        case AllOf(conditions):
            return pb.Condition(all=pb.ConditionGroup(conditions=map(condition_to_proto, conditions)))
        case AnyOf(conditions):
            return pb.Condition(any=pb.ConditionGroup(conditions=map(condition_to_proto, conditions)))
        case Not(inner):
            return pb.Condition(negation=condition_to_proto(inner))


def _level_from_proto(message: pb.Steering, field: str, depth: int, tally: Tally) -> Steering:
    tally.add_edits(len(message.edits), f"{field}.edits")
    tally.add_scopes(len(message.scopes), f"{field}.scopes", depth)
    limits = {name: getattr(message, name) for name in _LIMITS if message.HasField(name)}
    return Steering(
        edits=tuple(_edit_from_proto(edit, field, number) for number, edit in enumerate(message.edits)),
        scopes=tuple(
            _scope_from_proto(scope, f"{field}.scopes[{number}]", depth, tally)
            for number, scope in enumerate(message.scopes)
        ),
        unit=_known(_UNITS, message.unit, f"{field}.unit"),
        positions=_known(_POSITIONS, message.positions, f"{field}.positions"),
        max_delta=limits.get("max_delta", DEFAULT_MAX_DELTA),
        min_nudge_entropy=limits.get("min_nudge_entropy"),
        max_nudge_entropy=limits.get("max_nudge_entropy"),
        nonzero_strength_threshold=limits.get("nonzero_strength_threshold", 0.0),
    )


def _level_to_proto(steering: Steering) -> pb.Steering:
    return pb.Steering(
        edits=map(edit_to_proto, steering.edits),
        scopes=map(_scope_to_proto, steering.scopes),
    )


def _edit_from_proto(message: pb.Edit, steering_field: str, number: int) -> Edit:
    if not message.HasField("feature"):
        raise _not_set(f"{steering_field}.edits[{number}].feature")
    name = message.WhichOneof("operation")
    if name is None:
        raise _not_set(f"{steering_field}.edits[{number}].operation", "nudge", "pin", "scale")
    return Edit(feature_from_proto(message.feature), _OPERATIONS[name], getattr(message, name))


def _scope_from_proto(message: pb.Scope, field: str, depth: int, tally: Tally) -> Scope:
    if not message.HasField("when"):
        raise _not_set(f"{field}.when")
    when = _condition_from_proto(message.when, f"{field}.when", 1, tally)
    action: Steering | Abort | Notify
    match message.WhichOneof("action"):
        case "steering":
            _refuse_nested_settings(message.steering, f"{field}.steering")
            action = _level_from_proto(message.steering, f"{field}.steering", depth + 1, tally)
        case "abort":
            action = Abort(message.abort.message)
        case "notify":
            action = Notify(message.notify.event)
        case _:
            raise _not_set(f"{field}.action", "steering", "abort", "notify")
    return Scope(when, action, message.latched)


def _scope_to_proto(scope: Scope) -> pb.Scope:
    message = pb.Scope(when=condition_to_proto(scope.when), latched=scope.latched)
    match scope.action:
        case Steering() as nested:
            message.steering.CopyFrom(_level_to_proto(nested))
        case Abort(text):
            message.abort.CopyFrom(pb.Abort(message=text))
        case Notify(event):
            message.notify.CopyFrom(pb.Notify(event=event))
    return message


def _refuse_nested_settings(message: pb.Steering, field: str) -> None:
    if message.unit:
        refuse_nested_setting(field, "unit")
    if message.positions:
        refuse_nested_setting(field, "positions")
    for name in _LIMITS:
        if message.HasField(name):
            refuse_nested_setting(field, name)


def _condition_from_proto(message: pb.Condition, field: str, depth: int, tally: Tally) -> Condition:
    tally.add_condition(field, depth)
    match message.WhichOneof("expression"):
        case "comparison":
            return _comparison_from_proto(message.comparison, f"{field}.comparison")
        case "all":
            return AllOf(_group_from_proto(message.all, f"{field}.all", depth, tally))
        case "any":
            return AnyOf(_group_from_proto(message.any, f"{field}.any", depth, tally))
        case "negation":
            return Not(_condition_from_proto(message.negation, f"{field}.negation", depth + 1, tally))
        case _:
            raise _not_set(f"{field}.expression", "comparison", "all", "any", "negation")


def _group_from_proto(
    message: pb.ConditionGroup, field: str, depth: int, tally: Tally
) -> tuple[Condition, ...]:
    check_group_size(len(message.conditions), f"{field}.conditions")
    return tuple(
        _condition_from_proto(condition, f"{field}.conditions[{number}]", depth + 1, tally)
        for number, condition in enumerate(message.conditions)
    )


def _comparison_from_proto(message: pb.Comparison, field: str) -> Comparison:
    left = _features_from_proto(message.left.features, f"{field}.left.features")
    if not message.operator:
        raise _not_set(f"{field}.operator")
    operator = _known(_OPERATORS, message.operator, f"{field}.operator")
    match message.WhichOneof("right"):
        case "threshold":
            return Comparison(left, operator, message.threshold)
        case "features":
            return Comparison(
                left, operator, _features_from_proto(message.features.features, f"{field}.features.features")
            )
        case _:
            raise _not_set(f"{field}.right", "threshold", "features")


def _features_from_proto(messages: Sequence[pb.FeatureKey], field: str) -> tuple[FeatureKey, ...]:
    check_set_size(len(messages), field)
    return tuple(map(feature_from_proto, messages))


def _features_to_proto(features: Iterable[FeatureKey]) -> pb.FeatureSet:
    return pb.FeatureSet(features=map(feature_to_proto, features))


def _known(values: Mapping[int, _Value], number: int, field: str) -> _Value:
    """The value of an enum's number; proto3 lets numbers through that the schema does not have."""
    if number not in values:
        raise InvalidField(field, f"{number} is not a value of this enum")
    return values[number]


def _not_set(field: str, *choices: str) -> InvalidField:
    return InvalidField(field, f"not set; set one of {', '.join(choices)}" if choices else "not set")

"""Ember's controllers as steerings.

A nudge's value is a strength, a pin's and a condition's an activation: the natural units of docs/steering.md.
docs/ember.md says what differs from Ember.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hearth.v1 import steering_pb2 as pb
from services.gateway.ember.bodies import (
    ConditionalBody,
    ConditionalGroupBody,
    ControllerBody,
    FeatureGroupBody,
    InterventionBody,
    ScopeBody,
)
from services.gateway.models import ServedModel

_OPERATORS = {
    ">": pb.Comparison.OPERATOR_GREATER,
    ">=": pb.Comparison.OPERATOR_GREATER_OR_EQUAL,
    "<": pb.Comparison.OPERATOR_LESS,
    "<=": pb.Comparison.OPERATOR_LESS_OR_EQUAL,
    "==": pb.Comparison.OPERATOR_EQUAL,
    "!=": pb.Comparison.OPERATOR_NOT_EQUAL,
}


def steering(controller: ControllerBody, model: ServedModel, *, events: bool = True) -> pb.Steering:
    """The steering of a request, its features those of the model's default SAE.

    Without `events`, scopes tell nothing: for calls that generate no text, where inference refuses to be told to.
    """
    return _level(controller, model.default_sae, events)


def _level(controller: ControllerBody, sae: str, events: bool) -> pb.Steering:
    message = pb.Steering(
        edits=(edit for each in controller.interventions for edit in _edits(each, sae)),
        scopes=(scope for each in controller.scopes for scope in _scopes(each, sae, events)),
    )
    # In a scope they are refused by inference, which names the field.
    if controller.nonzero_strength_threshold is not None:
        message.nonzero_strength_threshold = controller.nonzero_strength_threshold
    if controller.min_nudge_entropy is not None:
        message.min_nudge_entropy = controller.min_nudge_entropy
    if controller.max_nudge_entropy is not None:
        message.max_nudge_entropy = controller.max_nudge_entropy
    return message


def _edits(intervention: InterventionBody, sae: str) -> Iterator[pb.Edit]:
    for key in _keys(intervention.features, sae):
        match intervention.mode:
            case "nudge":
                yield pb.Edit(feature=key, nudge=intervention.value)
            case "pin":
                yield pb.Edit(feature=key, pin=intervention.value)
            case "mul":
                yield pb.Edit(feature=key, scale=intervention.value)


def _scopes(scope: ScopeBody, sae: str, events: bool) -> Iterator[pb.Scope]:
    """One scope for what it tells and one for what it edits, as far as it does either."""
    when = _group(scope.conditionals, sae)
    if scope.event_name is not None and events:
        yield pb.Scope(when=when, notify=pb.Notify(event=scope.event_name))
    if scope.event_name is None or scope.controller.interventions or scope.controller.scopes:
        yield pb.Scope(when=when, steering=_level(scope.controller, sae, events))


def _group(group: ConditionalGroupBody, sae: str) -> pb.Condition:
    conditions = [
        _comparison(each, sae) if isinstance(each, ConditionalBody) else _group(each, sae)
        for each in group.conditionals
    ]
    if len(conditions) == 1:
        return conditions[0]
    joined = pb.ConditionGroup(conditions=conditions)
    return pb.Condition(all=joined) if group.operator == "AND" else pb.Condition(any=joined)


def _comparison(conditional: ConditionalBody, sae: str) -> pb.Condition:
    message = pb.Comparison(left=_set(conditional.left_hand, sae), operator=_OPERATORS[conditional.operator])
    if isinstance(conditional.right_hand, FeatureGroupBody):
        message.features.CopyFrom(_set(conditional.right_hand, sae))
    else:
        message.threshold = conditional.right_hand
    return pb.Condition(comparison=message)


def _set(group: FeatureGroupBody, sae: str) -> pb.FeatureSet:
    return pb.FeatureSet(features=_keys(group, sae))


def _keys(group: FeatureGroupBody, sae: str) -> Iterable[pb.FeatureKey]:
    return [pb.FeatureKey(sae=sae, index=feature.index_in_sae) for feature in group.features]

"""Faults that a client may put into a steering, each with the path that the refusal must name."""

from __future__ import annotations

from collections.abc import Callable

from hearth.v1 import steering_pb2 as pb

Mutation = Callable[[pb.Steering, int], object]
NAN, INFINITY = float("nan"), float("inf")


def some_condition() -> pb.Condition:
    return pb.Condition(
        comparison=pb.Comparison(
            left=pb.FeatureSet(features=[pb.FeatureKey(index=1)]),
            operator=pb.Comparison.OPERATOR_GREATER,
            threshold=0.5,
        )
    )


def some_scope() -> pb.Scope:
    return pb.Scope(when=some_condition(), notify=pb.Notify(event="seen"))


def nudges(count: int) -> list[pb.Edit]:
    return [pb.Edit(feature=pb.FeatureKey(index=i), nudge=0.5) for i in range(count)]


def add_edit(steering: pb.Steering, edit: pb.Edit) -> None:
    steering.edits.append(edit)


def add_scope(steering: pb.Steering, change: Callable[[pb.Scope], object]) -> None:
    scope = some_scope()
    change(scope)
    steering.scopes.append(scope)


def add_condition(steering: pb.Steering, condition: pb.Condition) -> None:
    add_scope(steering, lambda scope: scope.when.CopyFrom(condition))


def add_comparison(steering: pb.Steering, change: Callable[[pb.Comparison], object]) -> None:
    condition = some_condition()
    change(condition.comparison)
    add_condition(steering, condition)


def nested_in_scope(steering: pb.Steering, inner: pb.Steering) -> None:
    add_scope(steering, lambda scope: scope.steering.CopyFrom(inner))


def negations(depth: int) -> pb.Condition:
    condition = some_condition()
    for _ in range(depth - 1):
        condition = pb.Condition(negation=condition)
    return condition


def scopes_deep(depth: int) -> pb.Steering:
    steering = pb.Steering(edits=nudges(1))
    for _ in range(depth):
        steering = pb.Steering(scopes=[pb.Scope(when=some_condition(), steering=steering)])
    return steering


def pinned(index: int) -> pb.Edit:
    return pb.Edit(feature=pb.FeatureKey(sae="twice", index=index), pin=1.0)


def scaled(index: int) -> pb.Edit:
    return pb.Edit(feature=pb.FeatureKey(sae="twice", index=index), scale=0.5)


FIRST = pb.FeatureKey(index=1)

# What appends one fault to a valid steering with so many edits in all, and the path of the fault: {e} and {s} stand for
# the numbers of edits and scopes before it.
FAULTS: dict[str, tuple[Mutation, str]] = {
    "edit without operation": (lambda s, e: add_edit(s, pb.Edit(feature=FIRST)), "edits[{e}].operation"),
    "edit without feature": (lambda s, e: add_edit(s, pb.Edit(pin=1)), "edits[{e}].feature"),
    "NaN nudge": (lambda s, e: add_edit(s, pb.Edit(feature=FIRST, nudge=NAN)), "edits[{e}].nudge"),
    "infinite pin": (lambda s, e: add_edit(s, pb.Edit(feature=FIRST, pin=INFINITY)), "edits[{e}].pin"),
    "scale of 100.1": (lambda s, e: add_edit(s, pb.Edit(feature=FIRST, scale=100.1)), "edits[{e}].scale"),
    "nudge of -101": (lambda s, e: add_edit(s, pb.Edit(feature=FIRST, nudge=-101)), "edits[{e}].nudge"),
    "two pins": (lambda s, e: s.edits.extend([pinned(7), pinned(7)]), "edits[{e1}].pin"),
    "pin, then scale": (lambda s, e: s.edits.extend([pinned(7), scaled(7)]), "edits[{e1}].scale"),
    "scale, then pin": (lambda s, e: s.edits.extend([scaled(7), pinned(7)]), "edits[{e1}].pin"),
    "two scales": (lambda s, e: s.edits.extend([scaled(7), scaled(7)]), "edits[{e1}].scale"),
    "257 edits": (lambda s, e: s.edits.extend(nudges(257 - len(s.edits))), "edits"),
    "a 257th edit in a scope": (
        lambda s, e: nested_in_scope(s, pb.Steering(edits=nudges(257 - e))),
        "scopes[{s}].steering.edits",
    ),
    "unknown unit": (lambda s, e: setattr(s, "unit", 57), "unit"),
    "unknown positions": (lambda s, e: setattr(s, "positions", -3), "positions"),
    "max_delta of 0": (lambda s, e: setattr(s, "max_delta", 0), "max_delta"),
    "max_delta of 10.5": (lambda s, e: setattr(s, "max_delta", 10.5), "max_delta"),
    "NaN max_delta": (lambda s, e: setattr(s, "max_delta", NAN), "max_delta"),
    "negative entropy": (lambda s, e: setattr(s, "min_nudge_entropy", -1), "min_nudge_entropy"),
    "infinite entropy": (lambda s, e: setattr(s, "max_nudge_entropy", INFINITY), "max_nudge_entropy"),
    "NaN threshold": (
        lambda s, e: setattr(s, "nonzero_strength_threshold", NAN),
        "nonzero_strength_threshold",
    ),
    "negative threshold": (
        lambda s, e: setattr(s, "nonzero_strength_threshold", -0.5),
        "nonzero_strength_threshold",
    ),
    "scope without condition": (
        lambda s, e: add_scope(s, lambda scope: scope.ClearField("when")),
        "scopes[{s}].when",
    ),
    "scope without action": (
        lambda s, e: add_scope(s, lambda scope: scope.ClearField("notify")),
        "scopes[{s}].action",
    ),
    "long event": (
        lambda s, e: add_scope(s, lambda scope: setattr(scope.notify, "event", "x" * 1025)),
        "scopes[{s}].notify.event",
    ),
    "long message": (
        lambda s, e: add_scope(s, lambda scope: setattr(scope.abort, "message", "x" * 1025)),
        "scopes[{s}].abort.message",
    ),
    "empty condition": (lambda s, e: add_condition(s, pb.Condition()), "scopes[{s}].when.expression"),
    "no operator": (
        lambda s, e: add_comparison(s, lambda c: c.ClearField("operator")),
        "scopes[{s}].when.comparison.operator",
    ),
    "unknown operator": (
        lambda s, e: add_comparison(s, lambda c: setattr(c, "operator", 7)),
        "scopes[{s}].when.comparison.operator",
    ),
    "no right side": (
        lambda s, e: add_comparison(s, lambda c: c.ClearField("right")),
        "scopes[{s}].when.comparison.right",
    ),
    "NaN in a condition": (
        lambda s, e: add_comparison(s, lambda c: setattr(c, "threshold", NAN)),
        "scopes[{s}].when.comparison.threshold",
    ),
    "no left side": (
        lambda s, e: add_comparison(s, lambda c: c.ClearField("left")),
        "scopes[{s}].when.comparison.left.features",
    ),
    "257 features on the right": (
        lambda s, e: add_comparison(s, lambda c: c.features.features.extend([FIRST] * 257)),
        "scopes[{s}].when.comparison.features.features",
    ),
    "empty group": (
        lambda s, e: add_condition(s, pb.Condition(all=pb.ConditionGroup())),
        "scopes[{s}].when.all.conditions",
    ),
    "group of 65": (
        lambda s, e: add_condition(
            s, pb.Condition(any=pb.ConditionGroup(conditions=[some_condition()] * 65))
        ),
        "scopes[{s}].when.any.conditions",
    ),
    "fault in a group": (
        lambda s, e: add_condition(
            s, pb.Condition(any=pb.ConditionGroup(conditions=[some_condition(), pb.Condition()]))
        ),
        "scopes[{s}].when.any.conditions[1].expression",
    ),
    "conditions 9 deep": (
        lambda s, e: add_condition(s, negations(9)),
        "scopes[{s}].when" + ".negation" * 8,
    ),
    "scopes 9 deep": (
        lambda s, e: s.scopes.append(scopes_deep(9).scopes[0]),
        "scopes[{s}]" + ".steering.scopes[0]" * 8,
    ),
    "257 scopes": (lambda s, e: s.scopes.extend([some_scope()] * 257), "scopes"),
    "nested unit": (
        lambda s, e: nested_in_scope(s, pb.Steering(unit=pb.UNIT_NATURAL)),
        "scopes[{s}].steering.unit",
    ),
    "nested positions": (
        lambda s, e: nested_in_scope(s, pb.Steering(positions=pb.POSITIONS_ALL)),
        "scopes[{s}].steering.positions",
    ),
    "nested max_delta": (
        lambda s, e: nested_in_scope(s, pb.Steering(max_delta=1)),
        "scopes[{s}].steering.max_delta",
    ),
    "nested entropy": (
        lambda s, e: nested_in_scope(s, pb.Steering(min_nudge_entropy=0)),
        "scopes[{s}].steering.min_nudge_entropy",
    ),
    "nested threshold": (
        lambda s, e: nested_in_scope(s, pb.Steering(nonzero_strength_threshold=0)),
        "scopes[{s}].steering.nonzero_strength_threshold",
    ),
    "fault in a nested edit": (
        lambda s, e: nested_in_scope(s, pb.Steering(edits=[*nudges(2), pb.Edit(feature=FIRST, nudge=NAN)])),
        "scopes[{s}].steering.edits[2].nudge",
    ),
}

"""Ember's controllers become steerings: every shape that the SDK can send, and nothing that it cannot."""

from __future__ import annotations

from typing import Any

import pydantic
import pytest

from hearth.v1 import steering_pb2 as pb
from services.gateway.ember.bodies import ControllerBody
from services.gateway.ember.wire.controller import steering
from services.gateway.models import ServedModel, ServedSae
from services.steering.edits import Notify, Operation, Steering
from services.steering.wire import steering_from_proto

SAES = tuple(ServedSae(name, "model.layers.3", 3, 100, 0.6, True, "") for name in ("first", "second"))
MODEL = ServedModel("tiny", 128, True, "", SAES)


def feature(index: int) -> dict[str, Any]:
    """As `Feature.json` writes it."""
    return {"uuid": f"{index:032x}", "label": "ships", "index_in_sae": index, "max_activation_strength": 1}


def group(*indices: int) -> dict[str, Any]:
    return {"features": [feature(index) for index in indices]}


def nudge(index: int, value: float) -> dict[str, Any]:
    return {"mode": "nudge", "features": group(index), "value": value}


def controller(*interventions: Any, scopes: Any = (), **limits: Any) -> dict[str, Any]:
    """As `Controller.json` writes it."""
    unset = {"nonzero_strength_threshold": None, "min_nudge_entropy": None, "max_nudge_entropy": None}
    named = {"name": "controller__14021", "interventions": list(interventions), "scopes": list(scopes)}
    return named | unset | limits


def compared(operator: str = ">", right: Any = 0.5, left: Any = None) -> dict[str, Any]:
    return {"left_hand": left or group(1), "operator": operator, "right_hand": right}


def joined(*conditionals: Any, operator: str = "AND") -> dict[str, Any]:
    return {"conditionals": list(conditionals), "operator": operator}


def scope(when: Any, what: Any, event: str | None = None) -> dict[str, Any]:
    """As `Scope.json` writes it."""
    return {"conditionals": when, "controller": what, "is_active": False, "event_name": event}


def message(body: dict[str, Any], *, events: bool = True) -> pb.Steering:
    return steering(ControllerBody.model_validate(body), MODEL, events=events)


def meant(body: dict[str, Any], *, events: bool = True) -> Steering:
    """The steering as inference understands it, which refuses what is not allowed."""
    return steering_from_proto(message(body, events=events))


def test_modes_become_operations_on_features_of_the_default_sae() -> None:
    edits = meant(
        controller(
            nudge(1, 0.5),
            {"mode": "pin", "features": group(2), "value": -0.5},
            {"mode": "mul", "features": group(3, 4), "value": 2},
        )
    ).edits
    assert [(edit.feature.sae, edit.feature.index, edit.operation, edit.value) for edit in edits] == [
        ("first", 1, Operation.NUDGE, 0.5),
        ("first", 2, Operation.PIN, -0.5),
        ("first", 3, Operation.SCALE, 2.0),
        ("first", 4, Operation.SCALE, 2.0),
    ]


def test_an_empty_controller_steers_nothing() -> None:
    assert meant({}).empty
    assert meant(controller()).empty


def test_a_single_feature_may_stand_in_place_of_a_group() -> None:
    bare = {"mode": "nudge", "features": feature(7), "value": 1}
    assert meant(controller(bare)) == meant(controller(nudge(7, 1.0)))


@pytest.mark.parametrize("operator", [">", ">=", "<", "<=", "==", "!="])
@pytest.mark.parametrize("right", [0.75, 1, group(2, 3), feature(2)])
def test_conditions_compare_with_numbers_groups_and_features(operator: str, right: Any) -> None:
    when = meant(controller(scopes=[scope(joined(compared(operator, right)), controller(nudge(1, 0.5)))]))
    comparison = when.scopes[0].when
    assert comparison.operator.value == operator  # type: ignore[union-attr]
    expected = right if not isinstance(right, dict) else (2, 3) if "features" in right else (2,)
    found = comparison.right  # type: ignore[union-attr]
    assert (tuple(key.index for key in found) if isinstance(found, tuple) else found) == expected


def test_conditions_are_joined_and_nested() -> None:
    when = joined(compared(), joined(compared("<"), compared("=="), operator="OR"))
    found = message(controller(scopes=[scope(when, controller(nudge(1, 0.5)))])).scopes[0].when
    assert [each.WhichOneof("expression") for each in found.all.conditions] == ["comparison", "any"]
    assert len(found.all.conditions[1].any.conditions) == 2


def test_a_group_of_one_is_that_one() -> None:
    for operator in ("AND", "OR"):
        when = joined(compared(), operator=operator)
        found = message(controller(scopes=[scope(when, controller())])).scopes[0].when
        assert found.HasField("comparison")


def test_an_event_alone_notifies_and_carries_on() -> None:
    scopes = meant(controller(scopes=[scope(joined(compared()), controller(), "seen")])).scopes
    assert [each.action for each in scopes] == [Notify("seen")]
    assert not scopes[0].latched


def test_an_event_beside_edits_does_both_at_the_same_tokens() -> None:
    told, edited = meant(
        controller(scopes=[scope(joined(compared()), controller(nudge(2, 0.5)), "seen")])
    ).scopes
    assert told.when == edited.when
    assert told.action == Notify("seen")
    assert isinstance(edited.action, Steering)
    assert edited.action.edits[0].value == 0.5


def test_where_nothing_is_generated_nothing_is_told() -> None:
    inner = scope(joined(compared()), controller(), "inner")
    body = controller(
        scopes=[
            scope(joined(compared()), controller(), "seen"),
            scope(joined(compared()), controller(nudge(2, 0.5), scopes=[inner])),
        ]
    )
    scopes = meant(body, events=False).scopes
    assert len(scopes) == 1
    assert isinstance(scopes[0].action, Steering)
    assert not scopes[0].action.scopes


def test_scopes_stand_in_scopes() -> None:
    inner = scope(joined(compared("<", 0.1)), controller(nudge(3, 0.25)))
    outer = scope(joined(compared()), controller(scopes=[inner]))
    action = meant(controller(scopes=[outer])).scopes[0].action
    assert isinstance(action, Steering)
    deepest = action.scopes[0].action
    assert isinstance(deepest, Steering)
    assert deepest.edits[0].value == 0.25


def test_limits_are_those_of_the_outermost_controller() -> None:
    limits = {"nonzero_strength_threshold": 0.25, "min_nudge_entropy": 0.5, "max_nudge_entropy": 2}
    found = meant(controller(nudge(1, 0.5), **limits))
    assert found.nonzero_strength_threshold == 0.25
    assert (found.min_nudge_entropy, found.max_nudge_entropy) == (0.5, 2.0)
    inner = scope(joined(compared()), controller(nudge(1, 0.5), min_nudge_entropy=0.5))
    with pytest.raises(Exception, match=r"scopes\[0\]\.steering\.min_nudge_entropy"):
        meant(controller(scopes=[inner]))


@pytest.mark.parametrize(
    "body",
    [
        controller({"mode": "hold", "features": group(1), "value": 1}),
        controller({"mode": "pin", "features": group(1), "value": group(2)}),
        controller({"mode": "pin", "features": {"features": []}, "value": 1}),
        controller({"mode": "pin", "features": group(-1), "value": 1}),
        controller(nudge(2**32, 1.0)),
        controller(nudge(1, float("nan"))),
        controller(nudge(1, float("inf"))),
        controller(scopes=[scope(joined(compared("=>")), controller())]),
        controller(scopes=[scope(joined(compared(right=None)), controller())]),
        controller(scopes=[scope(joined(compared(), operator="XOR"), controller())]),
        controller(scopes=[{"controller": controller()}]),
    ],
)
def test_what_the_sdk_cannot_mean_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(pydantic.ValidationError):
        ControllerBody.model_validate(body)

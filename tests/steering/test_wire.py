"""Claims about steering on the wire."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.v1 import steering_pb2 as pb
from services.errors import InvalidField
from services.steering.conditions import FeatureKey
from services.steering.edits import Edit, Operation, Positions, Steering, Unit
from services.steering.wire import edit_to_proto, steering_from_proto, steering_to_proto
from tests.steering.faults import (
    FAULTS,
    FIRST,
    negations,
    nudges,
    pinned,
    scopes_deep,
    some_condition,
    some_scope,
)
from tests.steering.strategies import few, many, steerings


@many
@given(steerings())
def test_a_steering_survives_the_wire(steering: Steering) -> None:
    sent = pb.Steering.FromString(steering_to_proto(steering).SerializeToString())
    assert steering_from_proto(sent) == steering


@pytest.mark.parametrize("fault", FAULTS)
@few
@given(steering=steerings())
def test_a_fault_is_refused_with_its_path(fault: str, steering: Steering) -> None:
    mutate, path = FAULTS[fault]
    message = steering_to_proto(steering)
    numbers = {"e": len(steering.edits), "e1": len(steering.edits) + 1, "s": len(steering.scopes)}
    total = sum(len(level.edits) for _, level, _ in steering.walk())
    mutate(message, total)
    with pytest.raises(InvalidField) as refused:
        steering_from_proto(message, "request.steering")
    assert refused.value.field == "request.steering." + path.format(**numbers)
    assert refused.value.message.startswith(refused.value.field)


def test_conditions_are_counted_over_the_whole_request() -> None:
    group = pb.Condition(all=pb.ConditionGroup(conditions=[some_condition()] * 63))
    message = pb.Steering(scopes=[pb.Scope(when=group, notify=pb.Notify())] * 16)
    steering_from_proto(message)
    message.scopes.append(some_scope())
    with pytest.raises(InvalidField) as refused:
        steering_from_proto(message)
    assert refused.value.field == "steering.scopes[16].when"


def test_min_entropy_above_max_is_refused() -> None:
    with pytest.raises(InvalidField) as refused:
        steering_from_proto(pb.Steering(min_nudge_entropy=2, max_nudge_entropy=1))
    assert refused.value.field == "steering.max_nudge_entropy"


def test_an_empty_message_is_a_steering_that_does_nothing() -> None:
    steering = steering_from_proto(pb.Steering())
    assert steering == Steering()
    assert steering.empty


@many
@given(st.sampled_from([pb.UNIT_UNSPECIFIED, pb.UNIT_NATURAL]))
def test_unspecified_means_natural_units_at_all_positions(unit: pb.Unit.ValueType) -> None:
    steering = steering_from_proto(pb.Steering(unit=unit))
    assert (steering.unit, steering.positions) == (Unit.NATURAL, Positions.ALL)


def test_nudges_on_one_feature_add_up() -> None:
    edits = [pb.Edit(feature=FIRST, nudge=1), pb.Edit(feature=FIRST, nudge=2), pb.Edit(feature=FIRST, pin=0)]
    assert len(steering_from_proto(pb.Steering(edits=edits)).edits) == 3


def test_one_feature_may_be_pinned_in_two_steerings() -> None:
    message = pb.Steering(
        edits=[pinned(1)], scopes=[pb.Scope(when=some_condition(), steering=pb.Steering(edits=[pinned(1)]))]
    )
    assert len(list(steering_from_proto(message).walk())) == 2


def test_the_largest_steering_is_allowed() -> None:
    deepest = scopes_deep(8)
    deepest.edits.extend(nudges(255))
    deepest.scopes[0].when.CopyFrom(negations(8))
    assert sum(len(level.edits) for _, level, _ in steering_from_proto(deepest).walk()) == 256


def test_values_of_100_are_allowed() -> None:
    edits = [pb.Edit(feature=FIRST, nudge=100), pb.Edit(feature=FIRST, pin=-100)]
    assert [edit.value for edit in steering_from_proto(pb.Steering(edits=edits)).edits] == [100, -100]


def test_an_edit_has_one_message() -> None:
    edit = Edit(FeatureKey("sae", 3), Operation.SCALE, 0.25)
    assert edit_to_proto(edit) == pb.Edit(feature=pb.FeatureKey(sae="sae", index=3), scale=0.25)


def test_256_edits_take_at_most_5_ms() -> None:
    message = pb.Steering(edits=nudges(256))

    def seconds() -> float:
        start = time.perf_counter()
        steering_from_proto(message)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(20)) < 0.005


def test_a_million_edits_are_refused_before_they_are_converted() -> None:
    message = pb.Steering(edits=nudges(1) * 1_000_000)
    start = time.perf_counter()
    with pytest.raises(InvalidField):
        steering_from_proto(message)
    assert time.perf_counter() - start < 0.1

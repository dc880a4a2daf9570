"""Hypothesis strategies for valid steerings, with floats that the wire carries exactly."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from services.steering.conditions import AllOf, AnyOf, Comparison, Condition, FeatureKey, Not, Operator
from services.steering.edits import Abort, Edit, Notify, Operation, Positions, Scope, Steering, Unit

# No deadlines: the machine that runs the tests may be busy.
few = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
many = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])

SAES = {"first": 1000, "second": 50}

values = st.floats(-100, 100, width=32)
not_negative = st.floats(0, 1000, width=32)
texts = st.text(max_size=20)
features = st.one_of(
    st.builds(FeatureKey, st.just("first"), st.integers(0, 999)),
    st.builds(FeatureKey, st.just("second"), st.integers(0, 49)),
)
feature_sets = st.lists(features, min_size=1, max_size=4).map(tuple)
comparisons = st.builds(
    Comparison,
    feature_sets,
    st.sampled_from(Operator),
    st.one_of(st.floats(-1e6, 1e6, width=32), feature_sets),
)


def conditions(depth: int = 8) -> st.SearchStrategy[Condition]:
    """Conditions nested at most `depth` deep."""
    if depth == 1:
        return comparisons
    inner = st.deferred(lambda: conditions(depth - 1))
    group = st.lists(inner, min_size=1, max_size=2).map(tuple)
    return st.one_of(comparisons, st.builds(AllOf, group), st.builds(AnyOf, group), st.builds(Not, inner))


@st.composite
def edit_lists(draw: st.DrawFn) -> tuple[Edit, ...]:
    """Edits of which each feature has at most one pin or scale."""
    drawn = draw(st.lists(st.builds(Edit, features, st.sampled_from(Operation), values), max_size=5))
    kept: list[Edit] = []
    for edit in drawn:
        taken = {other.feature for other in kept if other.operation is not Operation.NUDGE}
        if edit.operation is Operation.NUDGE or edit.feature not in taken:
            kept.append(edit)
    return tuple(kept)


def scopes(depth: int) -> st.SearchStrategy[Scope]:
    """Scopes nested at most `depth` deep."""
    actions: list[st.SearchStrategy[Steering | Abort | Notify]] = [
        st.builds(Abort, texts),
        st.builds(Notify, texts),
    ]
    nested = (
        st.lists(st.deferred(lambda: scopes(depth - 1)), max_size=2).map(tuple) if depth > 1 else st.just(())
    )
    actions.append(st.builds(Steering, edits=edit_lists(), scopes=nested))
    return st.builds(Scope, conditions(3), st.one_of(actions), st.booleans())


@st.composite
def steerings(draw: st.DrawFn) -> Steering:
    """Valid steerings."""
    low, high = sorted(draw(st.tuples(not_negative, not_negative)))
    return Steering(
        edits=draw(edit_lists()),
        scopes=draw(st.lists(scopes(3), max_size=2).map(tuple)),
        unit=draw(st.sampled_from(Unit)),
        positions=draw(st.sampled_from(Positions)),
        max_delta=draw(st.floats(0, 10, width=32, exclude_min=True)),
        min_nudge_entropy=draw(st.sampled_from([None, low])),
        max_nudge_entropy=draw(st.sampled_from([None, high])),
        nonzero_strength_threshold=draw(not_negative),
    )

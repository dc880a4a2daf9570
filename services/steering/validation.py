"""What a steering may be. These checks see dataclasses only, so they serve every caller, whatever it reads from.

Every error is an InvalidField whose field is the path in the request: `steering.scopes[0].steering.edits[2].nudge`.
"""

from __future__ import annotations

import math
from typing import assert_never

from services.errors import InvalidField
from services.steering.conditions import AllOf, AnyOf, Comparison, Condition, FeatureKey, Not
from services.steering.edits import (
    DEFAULT_MAX_DELTA,
    MAX_DEPTH,
    MAX_EDITS,
    MAX_VALUE,
    Abort,
    Edit,
    Notify,
    Operation,
    Positions,
    Scope,
    Steering,
    Unit,
)

MAX_SET = 256
"""Features in one set of a comparison."""
MAX_GROUP = 64
"""Conditions that one group joins."""
MAX_SCOPES = 256
"""Scopes in one request, nested ones included."""
MAX_CONDITIONS = 1024
"""Conditions in one request, groups and negations included: each is evaluated at every token."""
MAX_TEXT = 1024
"""Characters of an abort's message or a notification's event, which may come back at every token."""
MAX_DELTA = 10.0
"""Largest `max_delta`."""
MAX_INDEX = 2**32 - 1
"""Largest feature index that a request can name."""
_FLOAT32_MAX = 3.4028234663852886e38


class Tally:
    """Counts what a whole request may hold only so much of; each call raises InvalidField where that is exceeded."""

    __slots__ = ("conditions", "edits", "scopes")

    def __init__(self) -> None:
        self.edits = 0
        self.scopes = 0
        self.conditions = 0

    def add_edits(self, count: int, field: str) -> None:
        """Counts the edits of one steering."""
        self.edits += count
        if self.edits > MAX_EDITS:
            raise InvalidField(field, f"over {MAX_EDITS} edits in the request, those of scopes included")

    def add_scopes(self, count: int, field: str, depth: int) -> None:
        """Counts the scopes of one steering, which stand `depth` deep."""
        if not count:
            return
        if depth > MAX_DEPTH:
            raise InvalidField(f"{field}[0]", f"scopes may be nested at most {MAX_DEPTH} deep")
        self.scopes += count
        if self.scopes > MAX_SCOPES:
            raise InvalidField(field, f"over {MAX_SCOPES} scopes in the request, nested ones included")

    def add_condition(self, field: str, depth: int) -> None:
        """Counts one condition, which stands `depth` deep in its scope's."""
        if depth > MAX_DEPTH:
            raise InvalidField(field, f"conditions may be nested at most {MAX_DEPTH} deep")
        self.conditions += 1
        if self.conditions > MAX_CONDITIONS:
            raise InvalidField(
                field, f"over {MAX_CONDITIONS} conditions in the request, nested ones included"
            )


def validate(steering: Steering, field: str = "steering") -> None:
    """Raises InvalidField at the first thing that is not allowed; `field` is the path of the steering itself."""
    _check_limits(steering, field)
    _check_level(steering, field, 1, Tally())


def check_set_size(size: int, field: str) -> None:
    """Raises InvalidField unless a feature set may have that size."""
    if not 1 <= size <= MAX_SET:
        raise InvalidField(field, f"{size} features; allowed: 1 to {MAX_SET}")


def check_group_size(size: int, field: str) -> None:
    """Raises InvalidField unless a group may join so many conditions."""
    if not 1 <= size <= MAX_GROUP:
        raise InvalidField(field, f"{size} conditions; allowed: 1 to {MAX_GROUP}")


def check_duplicates(edits: tuple[Edit, ...], field: str) -> None:
    """Raises InvalidField naming the second pin or scale on one feature in one steering; `field` is the list's path."""
    seen: dict[FeatureKey, int] = {}
    for number, edit in enumerate(edits):
        if edit.operation is Operation.NUDGE:
            continue
        first = seen.setdefault(edit.feature, number)
        if first != number:
            raise InvalidField(
                f"{field}[{number}].{edit.operation.value}",
                f"feature {edit.feature.index} has a {edits[first].operation.value} already, in {field}[{first}]; "
                "a steering may pin or scale a feature once",
            )


def _check_level(steering: Steering, field: str, depth: int, tally: Tally) -> None:
    edits_field, scopes_field = f"{field}.edits", f"{field}.scopes"
    tally.add_edits(len(steering.edits), edits_field)
    for number, edit in enumerate(steering.edits):
        if not -MAX_VALUE <= edit.value <= MAX_VALUE:  # NaN fails too
            raise InvalidField(
                f"{edits_field}[{number}].{edit.operation.value}",
                f"{edit.value!r} is not allowed; allowed: {-MAX_VALUE:g} to {MAX_VALUE:g}",
            )
        _check_feature(edit.feature, f"{edits_field}[{number}].feature")
    check_duplicates(steering.edits, edits_field)
    tally.add_scopes(len(steering.scopes), scopes_field, depth)
    for number, scope in enumerate(steering.scopes):
        _check_scope(scope, f"{scopes_field}[{number}]", depth, tally)


def _check_scope(scope: Scope, field: str, depth: int, tally: Tally) -> None:
    _check_condition(scope.when, f"{field}.when", 1, tally)
    match scope.action:
        case Steering() as nested:
            _check_nested(nested, f"{field}.steering")
            _check_level(nested, f"{field}.steering", depth + 1, tally)
        case Abort(message):
            _check_text(message, f"{field}.abort.message")
        case Notify(event):
            _check_text(event, f"{field}.notify.event")
        case _:
            assert_never(scope.action)


def _check_condition(condition: Condition, field: str, depth: int, tally: Tally) -> None:
    tally.add_condition(field, depth)
    match condition:
        case Comparison(left, _, right):
            _check_features(left, f"{field}.comparison.left.features")
            if isinstance(right, tuple):
                _check_features(right, f"{field}.comparison.features.features")
            else:
                _check_finite(right, f"{field}.comparison.threshold")
        case AllOf(conditions):
            _check_group(conditions, f"{field}.all.conditions", depth, tally)
        case AnyOf(conditions):
            _check_group(conditions, f"{field}.any.conditions", depth, tally)
        case Not(inner):
            _check_condition(inner, f"{field}.negation", depth + 1, tally)
        case _:
            assert_never(condition)


def _check_group(conditions: tuple[Condition, ...], field: str, depth: int, tally: Tally) -> None:
    check_group_size(len(conditions), field)
    for number, condition in enumerate(conditions):
        _check_condition(condition, f"{field}[{number}]", depth + 1, tally)


def _check_features(features: tuple[FeatureKey, ...], field: str) -> None:
    check_set_size(len(features), field)
    for number, feature in enumerate(features):
        _check_feature(feature, f"{field}[{number}]")


def _check_feature(feature: FeatureKey, field: str) -> None:
    if not 0 <= feature.index <= MAX_INDEX:
        raise InvalidField(f"{field}.index", f"{feature.index} is not allowed; allowed: 0 to {MAX_INDEX}")


def _check_limits(steering: Steering, field: str) -> None:
    if not 0 < steering.max_delta <= MAX_DELTA:
        raise InvalidField(
            f"{field}.max_delta",
            f"{steering.max_delta!r} is not allowed; allowed: above 0, at most {MAX_DELTA:g}",
        )
    low, high = steering.min_nudge_entropy, steering.max_nudge_entropy
    if low is not None:
        _check_not_negative(low, f"{field}.min_nudge_entropy")
    if high is not None:
        _check_not_negative(high, f"{field}.max_nudge_entropy")
    if low is not None and high is not None and low > high:
        raise InvalidField(f"{field}.max_nudge_entropy", f"{high!r} is below min_nudge_entropy, {low!r}")
    _check_not_negative(steering.nonzero_strength_threshold, f"{field}.nonzero_strength_threshold")


def _check_nested(steering: Steering, field: str) -> None:
    settings: dict[str, bool] = {
        "unit": steering.unit is not Unit.NATURAL,
        "positions": steering.positions is not Positions.ALL,
        "max_delta": steering.max_delta != DEFAULT_MAX_DELTA,
        "min_nudge_entropy": steering.min_nudge_entropy is not None,
        "max_nudge_entropy": steering.max_nudge_entropy is not None,
        "nonzero_strength_threshold": steering.nonzero_strength_threshold != 0,
    }
    for name, given in settings.items():
        if given:
            refuse_nested_setting(field, name)


def refuse_nested_setting(field: str, name: str) -> None:
    """Raises InvalidField for a setting of a nested steering, which only the outermost may have."""
    raise InvalidField(
        f"{field}.{name}", "set it on the request's outermost steering; leave it unset in a scope"
    )


def _check_not_negative(value: float, field: str) -> None:
    _check_finite(value, field)
    if value < 0:
        raise InvalidField(field, f"{value!r} is not allowed; allowed: 0 or more")


def _check_finite(value: float, field: str) -> None:
    if not math.isfinite(value) or abs(value) > _FLOAT32_MAX:
        raise InvalidField(field, f"{value!r} is not allowed; allowed: finite numbers")


def _check_text(text: str, field: str) -> None:
    if len(text) > MAX_TEXT:
        raise InvalidField(field, f"{len(text)} characters; allowed: at most {MAX_TEXT}")

"""Conditions compiled to plain functions of a token's activations.

They are tried at every token of every request that has conditions, a few numbers at a time: there, plain Python is
several times quicker than arrays.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from services.steering.conditions import AllOf, AnyOf, Comparison, Condition, FeatureKey, Not, Operator

Predicate = Callable[[Sequence[float]], bool]
"""Whether a condition holds at a token, given the activations of the request's condition features there."""
_Reader = Callable[[Sequence[float]], float]

_COMPARE: Mapping[Operator, Callable[[float, float], bool]] = {
    Operator.GREATER: operator.gt,
    Operator.GREATER_OR_EQUAL: operator.ge,
    Operator.LESS: operator.lt,
    Operator.LESS_OR_EQUAL: operator.le,
    Operator.EQUAL: operator.eq,
    Operator.NOT_EQUAL: operator.ne,
}


def predicate(condition: Condition, places: Mapping[FeatureKey, int]) -> Predicate:
    """The condition as a function of activations (float32 numbers in the condition's unit), each at its place."""
    match condition:
        case Comparison(left, how, right):
            return _comparison(_largest(left, places), _COMPARE[how], right, places)
        case AllOf(conditions):
            every = [predicate(inner, places) for inner in conditions]
            return lambda values: all(inner(values) for inner in every)
        case AnyOf(conditions):
            some = [predicate(inner, places) for inner in conditions]
            return lambda values: any(inner(values) for inner in some)
        case Not(inner):
            negated = predicate(inner, places)
            return lambda values: not negated(values)


def _comparison(
    left: _Reader,
    compare: Callable[[float, float], bool],
    right: float | tuple[FeatureKey, ...],
    places: Mapping[FeatureKey, int],
) -> Predicate:
    if isinstance(right, tuple):
        other = _largest(right, places)
        return lambda values: compare(left(values), other(values))
    threshold = float(np.float32(right))
    return lambda values: compare(left(values), threshold)


def _largest(features: tuple[FeatureKey, ...], places: Mapping[FeatureKey, int]) -> _Reader:
    read = operator.itemgetter(*(places[key] for key in features))
    return read if len(features) == 1 else lambda values: max(read(values))

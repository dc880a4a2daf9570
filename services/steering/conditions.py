"""Conditions on feature activations, evaluated at every token."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class FeatureKey:
    """Names one feature of one SAE; an empty `sae` means the model's only one."""

    sae: str
    index: int


class Operator(Enum):
    """How two values are compared."""

    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    EQUAL = "=="
    NOT_EQUAL = "!="


@dataclass(frozen=True, slots=True)
class Comparison:
    """Compares the largest activation among `left` with a number or with the largest among other features."""

    left: tuple[FeatureKey, ...]
    operator: Operator
    right: float | tuple[FeatureKey, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    """Holds where all of its conditions hold."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Holds where any of its conditions holds."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Holds where its condition does not."""

    condition: Condition


Condition = Comparison | AllOf | AnyOf | Not


def features_of(condition: Condition) -> Iterator[FeatureKey]:
    """The features that a condition reads, in order, with repetitions."""
    match condition:
        case Comparison(left, _, right):
            yield from left
            if isinstance(right, tuple):
                yield from right
        case AllOf(conditions) | AnyOf(conditions):
            for inner in conditions:
                yield from features_of(inner)
        case Not(inner):
            yield from features_of(inner)

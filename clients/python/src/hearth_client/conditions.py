"""When something happens: comparisons of features' activations, joined by `&`, `|` and `~`.

    whales & ~(ships > 0.5)

A condition is evaluated at every token, on that token's unedited activations, in activation units: 1.0 is the feature's
99.9th-percentile activation. docs/steering.md of Hearth defines all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from hearth_client.features import Feature

Operator = Literal[">", ">=", "<", "<=", "==", "!="]


class Condition:
    """Base of all conditions."""

    __slots__ = ()

    def __and__(self, other: Condition) -> AllOf:
        """Holds where both hold."""
        return AllOf((self, other))

    def __or__(self, other: Condition) -> AnyOf:
        """Holds where either holds."""
        return AnyOf((self, other))

    def __invert__(self) -> Not:
        """Holds where it does not."""
        return Not(self)

    def __bool__(self) -> bool:
        """Refused: `and`, `or` and `not` would quietly drop a part of the condition."""
        raise TypeError("a condition has no truth value here; join conditions with &, | and ~")


@dataclass(frozen=True, slots=True)
class Comparison(Condition):
    """Compares the largest activation of some features with a number, or with that of others."""

    left: tuple[Feature, ...]
    operator: Operator
    right: float | tuple[Feature, ...]


@dataclass(frozen=True, slots=True)
class AllOf(Condition):
    """Holds where all of them hold."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf(Condition):
    """Holds where any of them holds."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not(Condition):
    """Holds where it does not."""

    condition: Condition

"""The vocabulary of steering: what an edit, a scope and a steering are. docs/steering.md says what they do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from services.steering.conditions import Condition, FeatureKey, features_of

MAX_EDITS = 256
"""Edits in one request, those of scopes included."""
MAX_DEPTH = 8
"""Nesting of scopes, and of conditions."""
MAX_VALUE = 100.0
"""Largest absolute value of an edit."""
DEFAULT_MAX_DELTA = 1.0
"""Largest total change at a token, as a fraction of the median residual norm."""


class Operation(Enum):
    """What an edit does to its feature."""

    NUDGE = "nudge"
    PIN = "pin"
    SCALE = "scale"


class Unit(Enum):
    """The unit of every value in a request."""

    NATURAL = "natural"
    RAW = "raw"


class Positions(Enum):
    """The tokens at which a steering acts."""

    ALL = "all"
    PROMPT = "prompt"
    GENERATED = "generated"


@dataclass(frozen=True, slots=True)
class Edit:
    """One change to one feature; `value` is in the request's unit."""

    feature: FeatureKey
    operation: Operation
    value: float


@dataclass(frozen=True, slots=True)
class Abort:
    """Ends the generation before the token that matched is emitted."""

    message: str = ""


@dataclass(frozen=True, slots=True)
class Notify:
    """Reports where a condition held."""

    event: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """Something that happens only at tokens where `when` holds."""

    when: Condition
    action: Steering | Abort | Notify
    latched: bool = False


@dataclass(frozen=True, slots=True)
class Steering:
    """What is to change, where and within which limits. Limits of nested steerings are ignored: the outermost count."""

    edits: tuple[Edit, ...] = ()
    scopes: tuple[Scope, ...] = ()
    unit: Unit = Unit.NATURAL
    positions: Positions = Positions.ALL
    max_delta: float = DEFAULT_MAX_DELTA
    min_nudge_entropy: float | None = None
    max_nudge_entropy: float | None = None
    nonzero_strength_threshold: float = 0.0

    @property
    def empty(self) -> bool:
        """Whether it can change or report nothing."""
        return not self.edits and not self.scopes

    @property
    def gates_on_entropy(self) -> bool:
        """Whether nudges depend on the unsteered next-token entropy."""
        return self.min_nudge_entropy is not None or self.max_nudge_entropy is not None

    def features(self) -> Iterator[FeatureKey]:
        """Every feature that it changes or reads, with repetitions."""
        for _, steering, _ in self.walk():
            yield from (edit.feature for edit in steering.edits)
            for scope in steering.scopes:
                yield from features_of(scope.when)

    def walk(self) -> Iterator[tuple[tuple[int, ...], Steering, tuple[Scope, ...]]]:
        """All steerings in it, outermost first: (indices of scopes to it, steering, enclosing scopes)."""
        stack: list[tuple[tuple[int, ...], Steering, tuple[Scope, ...]]] = [((), self, ())]
        while stack:
            path, steering, scopes = stack.pop()
            yield path, steering, scopes
            for number, scope in reversed(list(enumerate(steering.scopes))):
                if isinstance(scope.action, Steering):
                    stack.append(((*path, number), scope.action, (*scopes, scope)))

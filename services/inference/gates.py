"""Where conditions hold: scopes evaluated over a run of tokens of one sequence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from services.inference.compiled import CompiledScope, CompiledSteering, Path
from services.steering.conditions import AllOf, AnyOf, Comparison, Condition, FeatureKey, Not, Operator
from services.steering.edits import Notify, Steering

Values = Mapping[FeatureKey, Float[np.ndarray, " tokens"]]

_COMPARE = {
    Operator.GREATER: np.greater,
    Operator.GREATER_OR_EQUAL: np.greater_equal,
    Operator.LESS: np.less,
    Operator.LESS_OR_EQUAL: np.less_equal,
    Operator.EQUAL: np.equal,
    Operator.NOT_EQUAL: np.not_equal,
}


def holds(condition: Condition, values: Values) -> Bool[np.ndarray, " tokens"]:
    """At which tokens a condition holds, given the activations of its features in the condition's unit."""
    match condition:
        case Comparison(left, operator, right):
            other = _largest(right, values) if isinstance(right, tuple) else np.float32(right)
            result: Bool[np.ndarray, " tokens"] = _COMPARE[operator](_largest(left, values), other)
            return result
        case AllOf(conditions):
            every: Bool[np.ndarray, " tokens"] = np.logical_and.reduce([holds(c, values) for c in conditions])
            return every
        case AnyOf(conditions):
            some: Bool[np.ndarray, " tokens"] = np.logical_or.reduce([holds(c, values) for c in conditions])
            return some
        case Not(inner):
            return ~holds(inner, values)


def _largest(features: tuple[FeatureKey, ...], values: Values) -> Float[np.ndarray, " tokens"]:
    if len(features) == 1:
        return values[features[0]]
    largest: Float[np.ndarray, " tokens"] = np.maximum.reduce([values[f] for f in features])
    return largest


@dataclass(slots=True)
class ScopeCount:
    """How often a scope was tried and acted."""

    tried: int = 0
    held: int = 0


@dataclass(frozen=True, slots=True)
class Trigger:
    """A scope acted at a token."""

    position: int
    scope: CompiledScope


@dataclass(slots=True)
class GateState:
    """What one sequence's scopes remember from token to token, and know about the tokens of the current pass."""

    compiled: CompiledSteering
    counts: dict[Path, ScopeCount] = field(default_factory=dict)
    triggers: list[Trigger] = field(default_factory=list)
    """Not yet taken by the engine, by scope, then position."""
    masks: dict[Path, Bool[np.ndarray, " tokens"]] = field(default_factory=dict)
    """Where each scope acts in the current pass."""
    values: dict[FeatureKey, Float[np.ndarray, " tokens"]] = field(default_factory=dict)
    _latched: set[Path] = field(default_factory=set)
    _acting: set[Path] = field(default_factory=set)

    def begin(self) -> None:
        """Forgets the last pass's tokens; latches stay."""
        self.masks.clear()
        self.values.clear()

    def observe(self, key: FeatureKey, raw: Float[np.ndarray, " tokens"]) -> None:
        """Takes the raw activations of a feature at the tokens of this pass."""
        value = raw / np.float32(self.compiled.scales[key])
        threshold = self.compiled.steering.nonzero_strength_threshold
        if threshold > 0:
            value = np.where(value < threshold, np.float32(0), value)
        self.values[key] = value

    def evaluate(self, layer: int, position: int, live: Bool[np.ndarray, " tokens"]) -> None:
        """Evaluates the scopes that are known after a block; `live` tokens only (no sinks), from `position` on."""
        for scope in self.compiled.scopes:
            if scope.layer != layer:
                continue
            tried = live if scope.parent is None else live & self.masks[scope.parent]
            held = holds(scope.when, self.values) & tried
            fresh = scope.path not in self._latched
            if scope.latched:
                on = np.logical_or.accumulate(held)
                if scope.path in self._latched:
                    on = np.ones_like(held)
                elif on[-1]:
                    self._latched.add(scope.path)
                held = on & tried
            self.masks[scope.path] = held
            count = self.counts.setdefault(scope.path, ScopeCount())
            count.tried += int(tried.sum())
            count.held += int(held.sum())
            self._trigger(scope, position, held, fresh)

    def _trigger(
        self, scope: CompiledScope, position: int, held: Bool[np.ndarray, " tokens"], fresh: bool
    ) -> None:
        """Notify: each token, once if latched. Steering: the first token of each run. Abort: the first token."""
        before = scope.path in self._acting
        if held[-1]:
            self._acting.add(scope.path)
        else:
            self._acting.discard(scope.path)
        if not held.any():
            return
        starts = np.flatnonzero(held)
        if isinstance(scope.action, Notify) and scope.latched:
            starts = starts[: int(fresh)]
        elif isinstance(scope.action, Steering):
            starts = np.flatnonzero(held & ~np.concatenate([[before], held[:-1]]))
        self.triggers += [Trigger(position + int(t), scope) for t in starts]

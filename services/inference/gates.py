"""Where conditions hold: scopes evaluated over a run of tokens of one sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from services.inference.compiled import CompiledScope, CompiledSteering, LayerPlan, Path
from services.steering.edits import Notify, Steering


@dataclass(slots=True)
class ScopeState:
    """What one scope remembers from token to token."""

    tried: int = 0
    """At how many tokens it was tried."""
    held: int = 0
    """At how many tokens it acted."""
    latched: bool = False
    """Whether its latch is on."""
    acting: bool = False
    """Whether it acted at the last token."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """A scope acted at a token."""

    position: int
    scope: CompiledScope


@dataclass(slots=True)
class GateState:
    """What one sequence's scopes remember from token to token, and know about the tokens of the current pass."""

    compiled: CompiledSteering
    triggers: list[Trigger] = field(default_factory=list)
    """Not yet taken by the engine, by scope, then position."""
    masks: dict[Path, list[bool]] = field(default_factory=dict)
    """Where each scope acts in the current pass, token by token."""
    scopes: dict[Path, ScopeState] = field(default_factory=dict)
    _values: list[list[float]] = field(default_factory=list)
    """The activations of the condition features at each token of the current pass, in the condition's unit."""

    def __post_init__(self) -> None:
        self.scopes = {scope.path: ScopeState() for scope in self.compiled.scopes}

    def begin(self) -> None:
        """Forgets the last pass's tokens; latches stay."""
        self.masks.clear()
        self._values.clear()

    def take_triggers(self) -> list[Trigger]:
        """What acted since the last look."""
        taken, self.triggers = self.triggers, []
        return taken

    def evaluate(self, plan: LayerPlan, position: int, reads: Sequence[float], live: Sequence[bool]) -> None:
        """Evaluates the scopes that are known after the plan's block, at tokens from `position` on.

        `reads` are the activations of the plan's keys, in the condition's unit, token by token; at tokens that are
        not `live` (sinks) no scope is tried.
        """
        self._observe(plan, reads, len(live))
        for scope in plan.scopes:
            self._evaluate(scope, position, live)

    def _observe(self, plan: LayerPlan, reads: Sequence[float], tokens: int) -> None:
        if not self._values:
            self._values = [[0.0] * len(self.compiled.places) for _ in range(tokens)]
        threshold, width = self.compiled.steering.nonzero_strength_threshold, len(plan.keys)
        for token, values in enumerate(self._values):
            for column, place in enumerate(plan.tested, token * width):
                value = reads[column]
                values[place] = 0.0 if value < threshold else value

    def _evaluate(self, scope: CompiledScope, position: int, live: Sequence[bool]) -> None:
        """Notify: each token, once if latched. Steering: the first token of each run. Abort: each token."""
        state, holds = self.scopes[scope.path], scope.holds
        outer = live if scope.parent is None else self.masks[scope.parent]
        once = isinstance(scope.action, Notify) and scope.latched
        firsts = isinstance(scope.action, Steering)
        self.masks[scope.path] = mask = []
        for token, values in enumerate(self._values):
            acts = fresh = False
            if live[token] and outer[token]:
                state.tried += 1
                acts = state.latched or holds(values)
                if acts:
                    state.held += 1
                    fresh = scope.latched and not state.latched
                    state.latched = scope.latched
                    if fresh if once else not (firsts and state.acting):
                        self.triggers.append(Trigger(position + token, scope))
            state.acting = acts
            mask.append(acts)

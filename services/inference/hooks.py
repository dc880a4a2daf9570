"""Steering and reading the residual stream at one block's output, for all sequences of a pass at once.

Two kinds of work: the sum of a request's unconditional nudges is one vector; all else is a list of (token, edit)
pairs whose coefficient is constant + slope * activation. The cost depends on the number of pairs, not on how many
different configurations they come from. A pair's result does not depend on the other pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from services.inference.compiled import CompiledEdit, CompiledSteering, LayerPlan
from services.inference.gates import GateState
from services.inference.pairs import PairCache
from services.inference.report import ReportBook
from services.inference.sae.base import SINK_NORMS
from services.steering.edits import Positions

Capture = Callable[[Float[Tensor, "tokens d_model"], Bool[Tensor, " tokens"]], None]
"""Called with a run's edited residuals and which of its tokens are no sinks."""


@dataclass(slots=True)
class SteeredSequence:
    """What steering keeps for one sequence while it runs."""

    compiled: CompiledSteering | None = None
    gates: GateState | None = None
    report: ReportBook | None = None
    captures: dict[int, Capture] = field(default_factory=dict)

    def acts(self, layer: int, generated: bool) -> bool:
        """Whether anything is to be changed or tested at a block for tokens of this kind."""
        if self.compiled is None or layer not in self.compiled.layers:
            return False
        positions = self.compiled.steering.positions
        return positions is Positions.ALL or generated == (positions is Positions.GENERATED)


@dataclass(slots=True)
class Segment:
    """A run of tokens of one sequence in a pass."""

    steered: SteeredSequence
    row: int
    length: int
    position: int
    generated: bool
    nudge_gate: Float[np.ndarray, " tokens"] | None = None
    """1 where nudges are allowed by the entropy gate, 0 elsewhere; None where there is no such gate."""

    def mask(self, edit: CompiledEdit) -> Sequence[float]:
        """Of each token: 1 where the edit's scope, evaluated by now, and the entropy gate let it act, 0 elsewhere."""
        state = self.steered.gates
        scope = state.masks[edit.path] if edit.path and state is not None else [True] * self.length
        if not edit.nudges or self.nudge_gate is None:
            return scope
        return [opens * holds for opens, holds in zip(self.nudge_gate.tolist(), scope, strict=True)]


@dataclass(slots=True)
class _Run:
    """A segment that something is done to, with its places in the pair lists."""

    segment: Segment
    plan: LayerPlan
    start: int  # its first row among the chosen rows
    reads: slice  # its (token, key) pairs, token by token
    edits: slice  # its (token, edit) pairs, token by token


@dataclass(slots=True)
class SteeringCounts:
    """How many tokens steering has acted on at a block, and how many of these changes were scaled down."""

    tokens: int = 0
    clipped: int = 0


class SteeringHook:
    """Edits and reads the residual stream of one pass."""

    def __init__(
        self,
        segments: list[Segment],
        median_norms: dict[int, float],
        cache: PairCache | None = None,
        counts: SteeringCounts | None = None,
    ) -> None:
        self._counts = counts or SteeringCounts()
        self._segments = segments
        self._cache = cache or PairCache()
        self._medians = median_norms
        for segment in segments:
            if segment.steered.gates is not None:
                segment.steered.gates.begin()

    def layers(self) -> frozenset[int]:
        """Blocks whose output is wanted."""
        wanted: set[int] = set()
        for segment in self._segments:
            steered = segment.steered
            wanted |= steered.captures.keys()
            if steered.compiled is not None:
                wanted |= {n for n in steered.compiled.layers if steered.acts(n, segment.generated)}
        return frozenset(wanted)

    def __call__(self, layer: int, h: Float[Tensor, "tokens d_model"]) -> None:
        """Edits h in place and calls captures."""
        acting = [s for s in self._segments if s.steered.acts(layer, s.generated)]
        lives: dict[int, Tensor] = {}
        if acting:
            lives = self._steer(layer, h, acting)
        for segment in self._segments:
            capture = segment.steered.captures.get(layer)
            if capture is not None:
                rows = h[segment.row : segment.row + segment.length]
                live = lives.get(segment.row)
                capture(rows, self._live(layer, rows, segment.position) if live is None else live)

    def _live(self, layer: int, x: Tensor, position: int) -> Bool[Tensor, " tokens"]:
        live: Tensor = x.float().norm(dim=-1) <= SINK_NORMS * self._medians[layer]
        if position == 0:
            live[0] = False
        return live

    def _steer(self, layer: int, h: Tensor, acting: list[Segment]) -> dict[int, Tensor]:
        runs, rows = _runs(layer, acting)
        rows = rows.to(h.device)
        x = h[rows].float()
        live = self._liveness(layer, x, runs)
        pairs = self._cache.pairs(layer, [r.plan for r in runs], [r.segment.length for r in runs], x.device)
        values = pairs.read(x)
        allowed = _allowed(runs, values / pairs.read_units, live)
        delta = torch.zeros_like(x)
        if len(pairs.nudge_rows):
            delta[pairs.nudge_rows] = pairs.nudges * _nudge_gate(runs, live, pairs.nudge_rows)[:, None]
        if len(pairs.edit_rows):
            coefficient = pairs.constant
            if len(values):
                # an edit that reads nothing has another's value in its place: not even a NaN of it may come through
                read = values[pairs.edit_reads.clamp_max(len(values) - 1)]
                coefficient = torch.where(pairs.slope == 0, coefficient, coefficient + pairs.slope * read)
            gate = live[pairs.edit_rows].float()
            if allowed is not None:
                gate *= torch.tensor(allowed, dtype=gate.dtype, device=gate.device)
            pairs.add(delta, coefficient * gate)
        clipped, clippings = _clip(delta, pairs.limits)
        self._counts.tokens += len(x)
        self._counts.clipped += clippings
        edited = x + delta
        h[rows] = edited.to(h.dtype)
        for run in runs:
            if run.segment.steered.report is not None:
                part = slice(run.start, run.start + run.segment.length)
                run.segment.steered.report.add(
                    run.plan, run.segment, x[part], edited[part], live[part], clipped[part], values[run.reads]
                )
        return {r.segment.row: live[r.start : r.start + r.segment.length] for r in runs}

    def _liveness(self, layer: int, x: Tensor, runs: list[_Run]) -> Bool[Tensor, " rows"]:
        live: Tensor = x.norm(dim=-1) <= SINK_NORMS * self._medians[layer]
        for run in runs:
            if run.segment.position == 0:
                live[run.start] = False
        return live


def _runs(layer: int, acting: list[Segment]) -> tuple[list[_Run], Int[Tensor, " rows"]]:
    runs: list[_Run] = []
    rows: list[int] = []
    reads = edits = 0
    for segment in acting:
        compiled = segment.steered.compiled
        assert compiled is not None
        plan = compiled.layers[layer]
        n_reads, n_edits = segment.length * len(plan.keys), segment.length * len(plan.edits)
        runs.append(
            _Run(segment, plan, len(rows), slice(reads, reads + n_reads), slice(edits, edits + n_edits))
        )
        rows += range(segment.row, segment.row + segment.length)
        reads, edits = reads + n_reads, edits + n_edits
    return runs, torch.tensor(rows)


def _allowed(
    runs: list[_Run], values: Float[Tensor, " reads"], live: Bool[Tensor, " rows"]
) -> list[float] | None:
    """Evaluates scopes; of each (token, edit) pair: 1 where its scope and the entropy gate let it act, 0 elsewhere.

    `values` are the activations of all (token, key) pairs, in the unit of conditions. None where no run has gates.
    """
    if all(run.segment.steered.gates is None and run.segment.nudge_gate is None for run in runs):
        return None
    reads, alive, gates = values.tolist(), live.tolist(), []
    for run in runs:
        state, length = run.segment.steered.gates, run.segment.length
        if state is not None:
            part = alive[run.start : run.start + length]
            state.evaluate(run.plan, run.segment.position, reads[run.reads], part)
        masks = [run.segment.mask(edit) for edit in run.plan.edits]
        gates += [mask[token] for token in range(length) for mask in masks]
    return gates


def _nudge_gate(runs: list[_Run], live: Tensor, rows: Tensor) -> Float[Tensor, " nudged"]:
    """Of each row that is nudged: 1 where it may be, 0 at sinks and where the entropy gate is shut."""
    gate = live[rows].float()
    offset = 0
    for run in runs:
        if run.plan.nudge is None:
            continue
        if run.segment.nudge_gate is not None:
            part = torch.from_numpy(run.segment.nudge_gate).to(gate.device)
            gate[offset : offset + run.segment.length] *= part
        offset += run.segment.length
    return gate


def _clip(delta: Tensor, limits: Tensor) -> tuple[Bool[Tensor, " rows"], int]:
    """Scales changes down to each row's limit, in place; which rows were, and how many."""
    norms = delta.norm(dim=-1)
    clipped: Tensor = norms > limits
    if not bool(clipped.any()):
        return clipped, 0
    delta[clipped] *= (limits[clipped] / norms[clipped])[:, None]
    return clipped, int(clipped.sum())

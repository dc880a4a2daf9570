"""Steering and reading the residual stream at one block's output, for all sequences of a pass at once.

Two kinds of work: the sum of a request's unconditional nudges is one vector; all else is a list of (token, edit)
pairs whose coefficient is constant + slope * activation. The cost depends on the number of pairs, not on how many
different configurations they come from. A pair's result does not depend on the other pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from services.inference.compiled import CompiledSteering, LayerPlan
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


@dataclass(slots=True)
class _Run:
    """A segment that something is done to, with its places in the pair lists."""

    segment: Segment
    plan: LayerPlan
    start: int  # its first row among the chosen rows
    reads: slice  # its (token, key) pairs, token by token
    edits: slice  # its (token, edit) pairs, token by token


class SteeringHook:
    """Edits and reads the residual stream of one pass."""

    def __init__(
        self, segments: list[Segment], median_norms: dict[int, float], cache: PairCache | None = None
    ) -> None:
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
        allowed = _allowed(layer, runs, values, live)
        delta = torch.zeros_like(x)
        if len(pairs.nudge_rows):
            delta[pairs.nudge_rows] = pairs.nudges * _nudge_gate(runs, live, pairs.nudge_rows)[:, None]
        if len(pairs.edit_rows):
            coefficient = pairs.constant
            if len(values):
                # an edit that reads nothing has another's value in its place: not even a NaN of it may come through
                read = values[pairs.edit_reads.clamp_max(len(values) - 1)]
                coefficient = torch.where(pairs.slope == 0, coefficient, coefficient + pairs.slope * read)
            pairs.add(delta, coefficient * _pair_gate(runs, live, pairs.edit_rows, allowed))
        clipped = _clip(delta, pairs.limits)
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
    layer: int, runs: list[_Run], values: Tensor, live: Tensor
) -> dict[int, Float[np.ndarray, "tokens edits"]]:
    """Evaluates scopes; the gate of each (token, edit) pair of runs that have scopes or entropy gates, by run."""
    gates: dict[int, Float[np.ndarray, "tokens edits"]] = {}
    for number, run in enumerate(runs):
        state = run.segment.steered.gates
        if state is None and run.segment.nudge_gate is None:
            continue
        length = run.segment.length
        if state is not None:
            block = values[run.reads].view(length, len(run.plan.keys)).cpu().numpy()
            for column, key in enumerate(run.plan.keys):
                if key in state.compiled.scales:
                    state.observe(key, block[:, column])
            part = live[run.start : run.start + length].cpu().numpy()
            state.evaluate(layer, run.segment.position, part)
        gate = np.ones((length, len(run.plan.edits)), dtype=np.float32)
        for column, edit in enumerate(run.plan.edits):
            if edit.path and state is not None:
                gate[:, column] *= state.masks[edit.path]
            if edit.nudges and run.segment.nudge_gate is not None:
                gate[:, column] *= run.segment.nudge_gate
        gates[number] = gate
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


def _pair_gate(
    runs: list[_Run], live: Tensor, rows: Tensor, allowed: dict[int, Float[np.ndarray, "tokens edits"]]
) -> Float[Tensor, " pairs"]:
    """Of each (token, edit) pair: 1 where it may act."""
    gate = live[rows].float()
    for number, run in enumerate(runs):
        if number in allowed:
            gate[run.edits] *= torch.from_numpy(allowed[number].reshape(-1)).to(gate.device)
    return gate


def _clip(delta: Tensor, limits: Tensor) -> Bool[Tensor, " rows"]:
    """Scales changes down to each row's limit, in place; which rows were."""
    norms = delta.norm(dim=-1)
    clipped: Tensor = norms > limits
    if bool(clipped.any()):
        delta[clipped] *= (limits[clipped] / norms[clipped])[:, None]
    return clipped

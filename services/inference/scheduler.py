"""Which tokens run in a step: the newest token of every decoding sequence, and prompt tiles within a budget."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from services.inference.attention import DecodeGroup, PassLayout, PrefillRun
from services.inference.hooks import Segment
from services.inference.kv import GRAIN, TILE
from services.inference.model import Pass
from services.inference.sequence import Sequence


@dataclass(slots=True)
class Work:
    """A run of tokens of one sequence."""

    sequence: Sequence
    start: int
    length: int
    decode: bool

    @property
    def end(self) -> int:
        """One past the last position."""
        return self.start + self.length


@dataclass(slots=True)
class Batch:
    """Works that run in one pass: they enter and leave the model at the same blocks."""

    entry: int
    last: int | None
    works: list[Work] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    """The first row of each work."""


def plan(running: list[Sequence], split: int, busy_budget: int, idle_budget: int) -> list[Batch]:
    """The passes of a step. Prompt tokens run up to the end of a tile, at most a budget of them: the smaller one while
    others decode, so that a long prompt stalls nobody."""
    batches: dict[tuple[int, int | None], Batch] = {}

    def add(work: Work, entry: int) -> None:
        key = (entry, work.sequence.last_layer)
        batches.setdefault(key, Batch(entry, work.sequence.last_layer)).works.append(work)

    decoding = [s for s in running if s.decoding and s.computed < s.ready_until]
    for sequence in sorted(decoding, key=_lane_order):
        add(Work(sequence, sequence.computed, 1, decode=True), -1)
    left = busy_budget if decoding else idle_budget
    for sequence in running:
        if left <= 0:
            break
        if not sequence.prefilling or not sequence.begun:
            continue
        start = sequence.computed
        reused = start < sequence.cached_lower
        end = min(sequence.cached_lower if reused else sequence.prompt_tokens, sequence.ready_until)
        stop = min(end, start + max(left, TILE))
        if stop < sequence.prompt_tokens:
            stop -= stop % (TILE if stop - stop % TILE > start else GRAIN)
        if stop > start:
            add(Work(sequence, start, stop - start, decode=False), split if reused else -1)
            left -= stop - start
    return [batches[key] for key in sorted(batches, key=lambda k: (k[0], k[1] is not None, k[1] or 0))]


def _lane_order(sequence: Sequence) -> tuple[int, int]:
    assert sequence.lane is not None
    return sequence.lane.capacity, sequence.lane.index


def layout(batch: Batch, device: torch.device) -> tuple[Pass, list[Segment]]:
    """The flat row of tokens of a batch, decoding ones first, with its segments in the works' order."""
    ids: list[int] = []
    positions: list[int] = []
    segments: list[Segment] = []
    arrangement = PassLayout()
    groups: dict[int, list[tuple[int, Sequence]]] = {}
    residuals = []
    for work in batch.works:
        sequence, row = work.sequence, len(ids)
        assert sequence.lane is not None
        batch.rows.append(row)
        ids += sequence.tokens[work.start : work.end]
        positions += range(work.start, work.end)
        gate = sequence.nudge_gate(work.start, work.length)
        generated = work.start >= sequence.prompt_tokens
        segments.append(Segment(sequence.steered, row, work.length, work.start, generated, gate))
        if work.decode:
            groups.setdefault(sequence.lane.capacity, []).append((row, sequence))
        else:
            arrangement.prefill.append(PrefillRun(row, work.length, work.start, sequence.lane))
        if batch.entry >= 0:
            assert sequence.cached_residual is not None
            offset = work.start - sequence.cached_start
            residuals.append(sequence.cached_residual[offset : offset + work.length])
    arrangement.decode = [_group(capacity, members, device) for capacity, members in groups.items()]
    step = Pass(
        torch.tensor(ids, device=device),
        torch.tensor(positions, device=device),
        arrangement,
        entry=batch.entry,
        residual=torch.cat(residuals) if residuals else None,
        last=batch.last,
    )
    return step, segments


def _group(capacity: int, members: list[tuple[int, Sequence]], device: torch.device) -> DecodeGroup:
    lanes = [s.lane.index for _, s in members if s.lane is not None]
    return DecodeGroup(
        capacity,
        members[0][0],
        torch.tensor(lanes, device=device),
        torch.tensor([s.computed for _, s in members], device=device),
        max(lanes) + 1,
        lanes == list(range(len(lanes))),
    )

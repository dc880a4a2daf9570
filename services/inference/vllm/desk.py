"""Steering inside a worker of vLLM: what it keeps of each request, and what it does to the stream after each block.

vLLM's runner lays the tokens of all scheduled requests in one row. `Desk.begin` reads that layout before a pass and
makes of it what hooks.py works on; `Desk.at_block` is called with each block's output. vLLM may throw a running
request's keys and values away and run all its tokens again (preemption): what the request remembers then starts anew
with it, and nothing is told twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from services.inference.compiled import CompiledSteering, compile_steering
from services.inference.gates import GateState
from services.inference.hooks import Segment, SteeredSequence, SteeringHook
from services.inference.pairs import PairCache
from services.inference.report import ReportBook
from services.inference.sae.base import Sae
from services.inference.vllm.orders import Captured, EditNumbers, News, Order, ReportNumbers
from services.steering.edits import Positions


class Medians(dict[int, float]):
    """Median norms by block. A block without SAEs, whose stream may still be captured, has no attention sinks."""

    def __missing__(self, layer: int) -> float:
        return float("inf")


@dataclass(frozen=True, slots=True)
class Run:
    """The tokens of one request in a pass."""

    key: str
    """The runner's name of the request."""
    row: int
    length: int
    position: int


@dataclass(slots=True)
class Entry:
    """What a worker keeps of one request."""

    order: Order
    compiled: CompiledSteering | None
    steered: SteeredSequence = field(default_factory=SteeredSequence)
    next: int = 0
    """The position that comes next."""
    seen: int = 0
    """The position up to which its tokens were run, before it was run again if it was."""
    captured: list[Captured] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._restart()

    def _restart(self) -> None:
        gates = None
        if self.compiled is not None and self.compiled.scopes:
            gates = GateState(self.compiled)
        self.steered = SteeredSequence(self.compiled, gates, ReportBook() if self.order.report else None)

    def segments(self, run: Run) -> list[tuple[int, Segment]]:
        """What is done to its tokens in a pass: (row of the pass, segment), its rows still to be numbered."""
        if run.position < self.next:
            self.seen = max(self.seen, self.next)
            self._restart()
        self.next = run.position + run.length
        self.steered.captures = {
            layer: partial(self._capture, layer, run.position) for layer in self.order.captures
        }
        parts = [(run.position, self.next)]
        end = self.order.prompt_tokens
        if self.compiled is not None and self.compiled.steering.positions is not Positions.ALL:
            parts = [(run.position, min(end, self.next)), (max(end, run.position), self.next)]
        return [
            (run.row + start - run.position, Segment(self.steered, 0, stop - start, start, start >= end))
            for start, stop in parts
            if stop > start and (self.steered.captures or self._acts(start >= end))
        ]

    def _acts(self, generated: bool) -> bool:
        return self.compiled is not None and any(
            self.steered.acts(n, generated) for n in self.compiled.layers
        )

    def _capture(self, layer: int, position: int, h: Tensor, live: Tensor) -> None:
        fresh = slice(max(0, self.seen - position), None)
        if len(h[fresh]):
            self.captured.append(Captured(layer, h[fresh].float().cpu(), live[fresh].cpu()))

    def news(self, ended: bool) -> News:
        """What happened since the last look."""
        told, self.captured = self.captured, []
        news = News(captured=told)
        gates = self.steered.gates
        if gates is not None:
            news.triggers = [
                (t.position, t.scope.path) for t in gates.take_triggers() if t.position >= self.seen
            ]
            news.scopes = {path: (state.tried, state.held) for path, state in gates.scopes.items()}
        book = self.steered.report
        if ended and book is not None and self.compiled is not None:
            news.report = numbers(self.compiled, book)
        return news


class Desk:
    """All requests of a worker that steer or are observed."""

    def __init__(self, saes: Mapping[str, Sae], medians: Mapping[int, float], device: torch.device) -> None:
        self._saes, self._medians, self._device = saes, Medians(medians), device
        self._pairs = PairCache()
        self._entries: dict[str, Entry] = {}
        self._by_order: dict[str, Entry] = {}
        self._hook: SteeringHook | None = None
        self._layers: frozenset[int] = frozenset()
        self._rows: Tensor | None = None

    def knows(self, key: str) -> bool:
        """Whether the request has been entered."""
        return key in self._entries

    def enter(self, key: str, order: Order) -> None:
        """Takes a request in."""
        steering = order.steering
        compiled = None if steering is None else compile_steering(steering, self._saes, order.report)
        self._entries[key] = self._by_order[order.id] = Entry(order, compiled)

    def keep_only(self, keys: Iterable[str]) -> None:
        """Forgets requests that have ended."""
        for key in self._entries.keys() - keys:
            self._by_order.pop(self._entries.pop(key).order.id, None)

    def begin(self, runs: Iterable[Run]) -> None:
        """Makes ready for a pass over these requests."""
        segments: list[Segment] = []
        rows: list[int] = []
        for run in runs:
            for row, segment in self._entries[run.key].segments(run):
                segment.row = len(rows)
                rows += range(row, row + segment.length)
                segments.append(segment)
        self._hook, self._layers, self._rows = None, frozenset(), None
        if segments:
            self._hook = SteeringHook(segments, self._medians, self._pairs)
            self._layers = self._hook.layers()
            self._rows = torch.tensor(rows, device=self._device)

    def at_block(self, layer: int, hidden: Float[Tensor, "tokens d_model"], residual: Tensor | None) -> None:
        """Edits a block's output in place. The stream is their sum: vLLM adds the second at the next block."""
        if self._hook is None or layer not in self._layers:
            return
        rows = self._rows
        assert rows is not None
        h = hidden[rows] if residual is None else hidden[rows] + residual[rows]
        self._hook(layer, h)
        hidden[rows] = h
        if residual is not None:
            residual[rows] = 0

    def news(self, asked: Iterable[str], ended: Iterable[str]) -> dict[str, News]:
        """News of requests by the ids of their orders; those not seen yet have none."""
        last = set(ended)
        wanted = {*asked, *last}
        return {name: self._by_order[name].news(name in last) for name in wanted if name in self._by_order}


def numbers(compiled: CompiledSteering, book: ReportBook) -> ReportNumbers:
    """A report without references to what only this process has."""
    edits = tuple(
        EditNumbers(layer, number, total.tokens, total.before, total.after)
        for layer, plan in compiled.layers.items()
        for number, edit in enumerate(plan.reported)
        if (total := book.totals.get(edit)) is not None
    )
    clipped, edited = frozenset(book.clipped), frozenset(book.edited)
    return ReportNumbers(edits, book.relative_sum, book.relative_max, book.rows, clipped, edited)


def hollow(sae: Sae) -> Sae:
    """The SAE of a block that another worker holds: its shapes, so that requests compile, without its numbers."""
    weights = sae.weights
    tensors: dict[str, Any] = {
        f.name: value[:1].mul(0).expand(value.shape)
        for f in fields(weights)
        if isinstance(value := getattr(weights, f.name), Tensor)
    }
    return replace(sae, weights=replace(weights, **tensors))

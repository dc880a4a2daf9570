"""Every table that is measured in rounds: its rows, how each is measured, and what the project promises of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from bench.catalogue.asking import Catalogue, all_at_once, by_callers, milliseconds, one_by_one
from bench.catalogue.made import Made
from bench.catalogue.peers import Numpy, Peer, QdrantLocal
from bench.catalogue.questions import Questions
from bench.catalogue.tables import Goal, Measure, Row, Section
from hearth.v1 import feature_service_pb2 as pb
from services.features.encoders import SentenceEncoder
from services.features.store.base import Vector

TOP = 10
TOGETHER = 32
CALLERS = 4
BATCH = 100
GROUP = 32
STEERS = 0.95
"""Least steerability of the filtered search."""
HYBRID, LABEL = pb.SEARCH_MODE_HYBRID, pb.SEARCH_MODE_LABEL
_MODES = {"hybrid": HYBRID, "label": LABEL}
_VIEWS = {"BASIC": pb.FEATURE_VIEW_BASIC, "whole": pb.FEATURE_VIEW_FULL}
_RELATIONS = {"decoder": pb.NEIGHBOR_RELATION_DECODER, "label": pb.NEIGHBOR_RELATION_LABEL}
_SEEN_GOAL, _FRESH_GOAL = Goal("p50", 5), Goal("p50", 25)


@dataclass(frozen=True, slots=True)
class Counts:
    """Calls in one round of one row."""

    searches: int = 200
    peer_searches: int = 100
    slow_searches: int = 20
    """Of a peer that takes a tenth of a second or more."""
    crowds: int = 5
    lookups: int = 4000
    batches: int = 100


QUICK = Counts(searches=40, peer_searches=20, slow_searches=5, crowds=2, lookups=400, batches=10)


@dataclass(frozen=True, slots=True)
class Bench:
    """All that is measured, and what with."""

    made: Made
    catalogue: Catalogue
    questions: Questions
    encoder: SentenceEncoder
    counts: Counts
    draw: np.random.Generator

    def sections(self) -> tuple[Section, ...]:
        """The tables."""
        peers: list[Peer] = [Numpy(self.made), QdrantLocal(self.made)]
        return self._searches(peers), self._crowds(), self._lookups(), self._narrow(peers)

    async def warm_up(self) -> None:
        """Asks every query of `seen`, and some of everything else."""
        for mode in _MODES.values():
            await one_by_one(partial(self._search, mode), self.questions.seen)
            await all_at_once(partial(self._search, mode), self.questions.fresh(TOGETHER))
        await by_callers(partial(self._feature, pb.FEATURE_VIEW_FULL), self._indices(BATCH), CALLERS)

    def _searches(self, peers: Sequence[Peer]) -> Section:
        seen, fresh = "seen before", "never seen"
        rows = []
        for name, mode in _MODES.items():
            ask, count = partial(self._search, mode), self.counts.searches
            rows.append(Row(f"Hearth, {name}, {fresh}", self._fresh(ask, count), (_FRESH_GOAL,)))
            rows.append(Row(f"Hearth, {name}, {seen}", self._again(ask, count), (_SEEN_GOAL,)))
        rows.append(Row("the query's embedding alone", self._fresh(self._embed, self.counts.peer_searches)))
        for peer in peers:
            count = self._count(peer)
            beside = (f"Hearth, label, {fresh}", f"Hearth, label, {seen}")
            embedded = partial(self._embed_and_search, peer)
            rows.append(Row(f"{peer.name}, {fresh}", self._fresh(embedded, count), beside=beside[0]))
            rows.append(Row(f"{peer.name}, {seen}", self._vectors(peer, count, None), beside=beside[1]))
        out = 1 - self.made.searched.mean()
        explains = (
            f"The {TOP} best features for a query of a few words; one caller, who waits for each answer. `Never seen` "
            "is with the query's embedding, `seen before` without. The peers search labels in this process, without "
            f"gRPC; Hearth is compared by its search of labels. It leaves out {out:.0%} of the features, by class; "
            "the peers compare all."
        )
        return Section("One search at a time", explains, "milliseconds", tuple(rows))

    def _crowds(self) -> Section:
        rows = [
            Row(f"{name}, {how}", self._crowd(mode, fresh=how == "never seen by it"), (Goal("worst", 1),))
            for name, mode in _MODES.items()
            for how in ("never seen by it", "all seen by it")
        ]
        explains = f"{TOGETHER} different queries sent at the same moment: seconds until all are answered."
        return Section(f"{TOGETHER} searches at once", explains, "seconds", tuple(rows))

    def _lookups(self) -> Section:
        quick, many = Goal("p99", 5), Goal("a second", 1500, at_least=True)
        rows = []
        for name, view in _VIEWS.items():
            ask = partial(self._feature, view)
            for callers in (1, CALLERS):
                goals = (quick,) if callers == 1 else (quick, many)
                label = f"GetFeature, {name}, {callers} caller{'s' * (callers > 1)}"
                rows.append(Row(label, self._looked_up(ask, self.counts.lookups, callers, 1), goals))
        batches = self._looked_up(self._features, self.counts.batches, 1, BATCH)
        rows.append(Row(f"BatchGetFeatures of {BATCH}, BASIC, 1 caller", batches))
        for callers in (1, CALLERS):
            label = f"a health check, which reads nothing, {callers} caller{'s' * (callers > 1)}"
            rows.append(Row(label, self._looked_up(self._health, self.counts.lookups, callers, 1)))
        explains = (
            "By index, drawn at random; features (or health checks) a second. The callers are in one process, on the "
            "same cores."
        )
        return Section("Lookups", explains, "milliseconds a call", tuple(rows))

    def _narrow(self, peers: Sequence[Peer]) -> Section:
        search = partial(self._search, LABEL, min_steerability=STEERS)
        ours = "Hearth, label, seen before, filtered"
        rows = [Row(ours, self._again(search, self.counts.searches))]
        for peer in peers:
            measure = self._vectors(peer, self._count(peer) // 4 + 1, STEERS)
            rows.append(Row(f"{peer.name}, filtered", measure, beside=ours))
        for name, relation in _RELATIONS.items():
            for size in (1, GROUP):
                label = f"FindNeighbors by {name}, {f'of the centre of {size}' if size > 1 else 'of one'}"
                rows.append(Row(label, self._neighbors(relation, size)))
        left = (self.made.searched & (self.made.steerability >= STEERS)).mean()
        explains = (
            f"A search for features of a steerability of at least {STEERS:g}, which leaves {left:.1%} of them; and "
            f"{TOP} neighbours. One caller."
        )
        return Section("Filters and neighbours", explains, "milliseconds", tuple(rows))

    def _count(self, peer: Peer) -> int:
        return self.counts.slow_searches if isinstance(peer, QdrantLocal) else self.counts.peer_searches

    async def _search(
        self, mode: pb.SearchMode.ValueType, query: str, min_steerability: float | None = None
    ) -> None:
        await self.catalogue.search(query, mode, TOP, min_steerability)

    async def _embed(self, query: str) -> Vector:
        vector: Vector = self.encoder.encode([query])[0]
        return vector

    async def _embed_and_search(self, peer: Peer, query: str) -> None:
        peer.search(await self._embed(query), TOP)

    async def _feature(self, view: pb.FeatureView.ValueType, index: int) -> None:
        await self.catalogue.feature(index, view)

    async def _features(self, indices: Sequence[int]) -> None:
        await self.catalogue.features(indices)

    async def _health(self, _: int) -> None:
        await self.catalogue.health()

    def _fresh(self, ask: Callable[[str], Awaitable[object]], count: int) -> Measure:
        async def measure() -> Mapping[str, float]:
            return milliseconds(await one_by_one(ask, self.questions.fresh(count)))

        return measure

    def _again(self, ask: Callable[[str], Awaitable[object]], count: int) -> Measure:
        async def measure() -> Mapping[str, float]:
            seen = self.questions.seen
            return milliseconds(await one_by_one(ask, (seen[n % len(seen)] for n in range(count))))

        return measure

    def _vectors(self, peer: Peer, count: int, min_steerability: float | None) -> Measure:
        async def search(vector: Vector) -> None:
            peer.search(vector, TOP, min_steerability)

        async def measure() -> Mapping[str, float]:
            seen = self.questions.seen
            vectors = self.encoder.encode([seen[n % len(seen)] for n in range(count)])
            return milliseconds(await one_by_one(search, vectors))

        return measure

    def _crowd(self, mode: pb.SearchMode.ValueType, fresh: bool) -> Measure:
        async def measure() -> Mapping[str, float]:
            seconds = []
            for _ in range(self.counts.crowds):
                queries = self.questions.fresh(TOGETHER) if fresh else self.questions.seen[:TOGETHER]
                seconds.append(await all_at_once(partial(self._search, mode), queries))
            return {"median": float(np.median(seconds)), "worst": max(seconds)}

        return measure

    def _looked_up(
        self, ask: Callable[..., Awaitable[object]], calls: int, callers: int, size: int
    ) -> Measure:
        async def measure() -> Mapping[str, float]:
            items = [self._indices(size) if size > 1 else self._indices(1)[0] for _ in range(calls)]
            seconds, rate = await by_callers(ask, items, callers)
            return {**milliseconds(seconds), "a second": rate * size}

        return measure

    def _neighbors(self, relation: pb.NeighborRelation.ValueType, size: int) -> Measure:
        async def ask(indices: Sequence[int]) -> None:
            await self.catalogue.neighbors(indices, relation, TOP)

        async def measure() -> Mapping[str, float]:
            groups = [self._indices(size) for _ in range(self.counts.searches)]
            return milliseconds(await one_by_one(ask, groups))

        return measure

    def _indices(self, count: int) -> list[int]:
        indices: list[int] = self.draw.integers(len(self.made), size=count).tolist()
        return indices

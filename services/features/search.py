"""Features by meaning or by word: the rankings by label, contexts and words, fused by reciprocal rank."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from services.errors import DependencyUnavailable
from services.features.catalogs import Catalogs, Live
from services.features.embedding import Embedding
from services.features.feature import SEARCHED, Hit, SearchMode
from services.features.fusion import fused
from services.features.off_loop import off_loop
from services.features.payload import BASIC_FIELDS, CONTEXT, LABEL, WORDS, feature_of, point_filter
from services.features.points import PointMaker
from services.features.reading import Located, Reader, has_layer
from services.features.requests import RerankCall, SearchCall
from services.features.store.base import (
    FoundPoint,
    PointFilter,
    SparseVector,
    Vector,
    VectorQuery,
    VectorStore,
)
from services.features.words import WordVectors

RANKED = 50
"""Places of each ranking, or as many as are asked for where these are more."""
WORDS_FUSED = 10
"""Places of the ranking by words that count in a fusion; further down, the words stand somewhere in a long text.

Measured with 40 everyday concepts on the embedded default, as `python -m bench.concepts` does: with 10 places, the
first ten features hold one that fires on the concept for 82 % of the queries, with 100 for 72 %, without words for
82 %; of the ten, 17.0, 14.8 and 16.2 % fire on it.
"""
SIGNALS = {
    SearchMode.HYBRID: (LABEL, CONTEXT, WORDS),
    SearchMode.LABEL: (LABEL,),
    SearchMode.CONTEXT: (CONTEXT,),
    SearchMode.LEXICAL: (WORDS,),
}
"""The named vectors that a mode compares."""
REBUILD_SECONDS = 30.0
"""After which a caller may try again whose search needs vectors that are being made."""


@dataclass(frozen=True, slots=True)
class Question:
    """A query as vectors."""

    vectors: Mapping[str, Vector | SparseVector]
    """By the name of the vector that each is compared with; what cannot be compared is not there."""
    stale: frozenset[str] = frozenset()
    """Collections whose vectors are of another encoder: their words alone can be compared."""

    def names_for(self, live: Live) -> list[str]:
        """The vectors that can be compared in a collection."""
        return [name for name in self.vectors if name == WORDS or live.collection not in self.stale]


@dataclass(slots=True)
class Ranking:
    """Features in order of one comparison."""

    scores: dict[str, float] = field(default_factory=dict)
    """By id, the best first."""


class Searcher:
    """Searches."""

    def __init__(
        self,
        store: VectorStore,
        catalogs: Catalogs,
        embedding: Embedding,
        points: PointMaker,
        words: WordVectors,
    ) -> None:
        self._store, self._catalogs = store, catalogs
        self._embedding, self._points, self._words = embedding, points, words
        self._reader = Reader(store, catalogs)

    async def search(self, call: SearchCall) -> list[Hit]:
        """The features that fit a query best, of one SAE or of all."""

        async def work() -> list[Hit]:
            if call.sae:
                lives = [await self._catalogs.get(call.sae, "sae")]
            else:
                lives = await self._catalogs.all()
            lives = [live for live in lives if has_layer(live, call.filter)]
            where = {live: point_filter(call.filter, SEARCHED) for live in lives}
            question = await self._question(call.query, call.mode, lives)
            places = _places(question, max(RANKED, call.top_k))
            rankings = await self._rankings(question, where, places, exact=False)
            order = _order(rankings)[: call.top_k]
            home = await self._points_of(
                lives, [name for name, _ in order], rankings, question, full=call.full
            )
            return await off_loop(order, lambda: _hits(order, rankings, home, question))

        return await self._catalogs.retried(work)

    async def rerank(self, call: RerankCall) -> list[Hit]:
        """Some features in order of how well they fit; those that nothing compares with the query stand last."""

        async def work() -> list[Hit]:
            located = [
                each
                for each in await self._reader.locate(call.names, ("index",))
                if isinstance(each, Located)
            ]
            ids: dict[Live, list[str]] = defaultdict(list)
            for name, each in {each.point.id: each for each in located}.items():
                ids[each.live].append(name)
            question = await self._question(call.query, call.mode, list(ids))
            where = {live: PointFilter(ids=names) for live, names in ids.items()}
            places = dict.fromkeys(question.vectors, len(located))
            rankings = await self._rankings(question, where, places, exact=True)
            order = dict(_order(rankings))
            for each in located:
                order.setdefault(each.point.id, 0.0)
            first = list(order.items())[: call.top_k]
            home = await self._points_of(
                list(ids), [name for name, _ in first], rankings, question, full=False
            )
            return await off_loop(first, lambda: _hits(first, rankings, home, question))

        return await self._catalogs.retried(work)

    async def _question(self, query: str, mode: SearchMode, lives: Sequence[Live]) -> Question:
        """A query as vectors. Raises DependencyUnavailable where a mode needs an encoder's that are not there."""
        vectors: dict[str, Vector | SparseVector] = {}
        stale: set[str] = set()
        if meanings := [name for name in SIGNALS[mode] if name != WORDS]:
            stale = {live.collection for live in lives if not await self._points.is_current(live.info)}
            if stale and mode is not SearchMode.HYBRID:
                raise DependencyUnavailable("search by meaning", "its vectors are made anew", REBUILD_SECONDS)
            if len(stale) < len(lives):
                vectors |= dict.fromkeys(meanings, await self._embedding.query(query))
        if WORDS in SIGNALS[mode] and (words := self._words.query(query)) is not None:
            vectors[WORDS] = words
        return Question(vectors, frozenset(stale))

    async def _rankings(
        self,
        question: Question,
        where: Mapping[Live, PointFilter],
        places: Mapping[str, int],
        *,
        exact: bool,
    ) -> dict[str, Ranking]:
        """The rankings by name of the vector, over all collections: cosines and BM25 stand side by side."""
        answers = await asyncio.gather(
            *(self._ask(live, question, only, places, exact=exact) for live, only in where.items())
        )
        rankings: dict[str, Ranking] = {}
        for name in question.vectors:
            points = [point for answer in answers for point in answer.get(name, ())]
            points.sort(key=lambda point: -point.score)
            rankings[name] = Ranking({point.id: point.score for point in points[: places[name]]})
        return rankings

    async def _ask(
        self, live: Live, question: Question, where: PointFilter, places: Mapping[str, int], *, exact: bool
    ) -> dict[str, list[FoundPoint]]:
        names = question.names_for(live)
        queries = [VectorQuery(n, question.vectors[n], places[n], where, exact=exact) for n in names]
        return (
            dict(zip(names, await self._store.query(live.collection, queries), strict=True)) if names else {}
        )

    async def _points_of(
        self,
        lives: Iterable[Live],
        names: Sequence[str],
        rankings: Mapping[str, Ranking],
        question: Question,
        *,
        full: bool,
    ) -> dict[str, Located]:
        """What was found, as much of it as is shown; with vectors to compare with where a ranking does not tell."""
        fields = None if full else BASIC_FIELDS
        untold = {
            vector: {name for name in names if name not in rankings[vector].scores}
            for vector in question.vectors
            if vector != WORDS
        }

        async def read(live: Live) -> dict[str, FoundPoint]:
            points = await self._store.get(live.collection, names, fields)
            vectors = [name for name in question.names_for(live) if untold.get(name)]
            lacking = [name for name in points if any(name in untold[vector] for vector in vectors)]
            if lacking:
                compared = await self._store.get(live.collection, lacking, (), vectors)
                points |= {name: replace(points[name], dense=point.dense) for name, point in compared.items()}
            return points

        found: dict[str, Located] = {}
        asked = list(lives) if names else []
        for live, points in zip(asked, await asyncio.gather(*map(read, asked)), strict=True):
            found.update((name, Located(live, point)) for name, point in points.items())
        return found


def _places(question: Question, most: int) -> dict[str, int]:
    """How many places of each ranking are asked for: of words beside meanings, no more than count."""
    return {
        name: min(WORDS_FUSED, most) if name == WORDS and len(question.vectors) > 1 else most
        for name in question.vectors
    }


def _order(rankings: Mapping[str, Ranking]) -> list[tuple[str, float]]:
    """Ids with their score, the best first."""
    if len(rankings) == 1:
        (only,) = rankings.values()
        return list(only.scores.items())
    places = {WORDS: WORDS_FUSED}
    return fused([list(ranking.scores)[: places.get(name)] for name, ranking in rankings.items()])


def _hits(
    order: Iterable[tuple[str, float]],
    rankings: Mapping[str, Ranking],
    found: Mapping[str, Located],
    question: Question,
) -> list[Hit]:
    return [
        Hit(
            feature_of(found[name].live.sae, found[name].point.payload),
            score,
            label_similarity=_similarity(found[name].point, LABEL, rankings, question),
            context_similarity=_similarity(found[name].point, CONTEXT, rankings, question),
            lexical_score=rankings[WORDS].scores.get(name) if WORDS in rankings else None,
        )
        for name, score in order
        if name in found
    ]


def _similarity(
    point: FoundPoint, name: str, rankings: Mapping[str, Ranking], question: Question
) -> float | None:
    """The cosine of the query and a point; None where either has no vector."""
    if name in rankings and point.id in rankings[name].scores:
        return rankings[name].scores[point.id]
    query, vector = question.vectors.get(name), point.dense.get(name)
    if query is None or vector is None or isinstance(query, SparseVector) or not vector.any():
        return None
    return float(np.dot(query, vector) / (np.linalg.norm(query) * np.linalg.norm(vector)))

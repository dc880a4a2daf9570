"""Features like one, or like the centre of a group."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from services.errors import InvalidField
from services.features.catalogs import Catalogs, Live
from services.features.feature import FeatureClass, Hit, Relation, feature_id
from services.features.off_loop import off_loop
from services.features.payload import (
    BASIC_FIELDS,
    COACTIVE,
    DECODER,
    INDEX,
    LABEL,
    coactive_of,
    feature_of,
    point_filter,
)
from services.features.reading import Located, Reader, has_layer
from services.features.requests import NeighborsCall
from services.features.store.base import PointFilter, Vector, VectorQuery, VectorStore

_USING = {Relation.DECODER: DECODER, Relation.LABEL: LABEL}
_ALIVE = tuple(each for each in FeatureClass if each is not FeatureClass.DEAD)


class Neighborhood:
    """Finds neighbours."""

    def __init__(self, store: VectorStore, catalogs: Catalogs) -> None:
        self._store, self._catalogs = store, catalogs
        self._reader = Reader(store, catalogs)

    async def find(self, call: NeighborsCall) -> list[Hit]:
        """The features most like those given, or like their centre; none where these have nothing to compare.

        A filter that names no class leaves out dead features alone, for one asks for neighbours of any kind.
        """
        using = _USING.get(call.relation)

        async def work() -> list[Hit]:
            fields, vectors = ((COACTIVE, INDEX), ()) if using is None else ((INDEX,), (using,))
            located = await self._reader.locate(call.names, fields, vectors)
            given = [each for each in located if isinstance(each, Located)]
            live = _one_sae(call, given)
            if not has_layer(live, call.filter):
                return []
            names = list({each.point.id for each in given})
            where = replace(point_filter(call.filter, _ALIVE), not_ids=names)
            if using is None:
                return await self._coactive(live, given, where, call.top_k)
            return await self._close(live, using, given, where, call.top_k)

        return await self._catalogs.retried(work)

    async def _close(
        self, live: Live, using: str, given: Sequence[Located], where: PointFilter, top_k: int
    ) -> list[Hit]:
        centre = _centre([each.point.dense[using] for each in given if using in each.point.dense])
        if centre is None:
            return []
        query = VectorQuery(using, centre, top_k, where, fields=BASIC_FIELDS)
        (points,) = await self._store.query(live.collection, [query])
        return await off_loop(
            points, lambda: [Hit(feature_of(live.sae, point.payload), point.score) for point in points]
        )

    async def _coactive(
        self, live: Live, given: Sequence[Located], where: PointFilter, top_k: int
    ) -> list[Hit]:
        """By the mean of the given ones' cosines; one that is not in a feature's list counts as 0 there."""
        sums: dict[str, float] = defaultdict(float)
        for each in given:
            for neighbor in coactive_of(each.point.payload):
                sums[feature_id(live.sae, neighbor.index)] += neighbor.similarity / len(given)
        if not sums:
            return []
        only = replace(where, ids=list(sums))
        points = await self._store.scroll(live.collection, INDEX, 0, len(sums), only, BASIC_FIELDS)
        best = sorted(points, key=lambda point: -sums[point.id])[:top_k]
        return await off_loop(
            best, lambda: [Hit(feature_of(live.sae, point.payload), sums[point.id]) for point in best]
        )


def _one_sae(call: NeighborsCall, given: Sequence[Located]) -> Live:
    """The SAE of all that are given. Raises InvalidField where there are several."""
    live = given[0].live
    for each, field in zip(given, call.names.fields, strict=True):
        if each.live.sae != live.sae:
            raise InvalidField(
                field, f"is of {each.live.sae[:200]!r}; allowed: features of one SAE, {live.sae!r}"
            )
    return live


def _centre(vectors: Sequence[Vector]) -> Vector | None:
    """The sum of directions, each of length 1; None where it is 0 and thus has no direction."""
    directions = [vector / norm for vector in vectors if (norm := np.linalg.norm(vector))]
    if not directions:
        return None
    centre: Vector = np.sum(np.stack(directions), axis=0, dtype=np.float32)
    return centre if np.linalg.norm(centre) > 1e-6 else None

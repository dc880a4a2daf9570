"""Features by name, and in order of index."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.errors import FeatureOutOfRange, NotFound
from services.features.catalogs import Catalogs, Live
from services.features.feature import Feature, FeatureFilter, feature_id
from services.features.off_loop import off_loop
from services.features.payload import BASIC_FIELDS, DECODER, INDEX, feature_of, point_filter
from services.features.requests import Absent, ListCall, Names
from services.features.store.base import FoundPoint, VectorStore
from services.rpc.page_tokens import page_token, position_of
from services.steering.conditions import FeatureKey

MAX_PAGE_BYTES = 3 << 20
"""A page of whole features ends here: an answer has to fit gRPC's 4 MiB."""


@dataclass(frozen=True, slots=True)
class Located:
    """A point of a feature, and where it lies."""

    live: Live
    point: FoundPoint

    @property
    def feature(self) -> Feature:
        """The feature, as much of it as was read."""
        return feature_of(self.live.sae, self.point.payload)


class Reader:
    """Reads features."""

    def __init__(self, store: VectorStore, catalogs: Catalogs) -> None:
        self._store, self._catalogs = store, catalogs

    async def get(self, names: Names, *, full: bool, allow_missing: bool = False) -> list[Feature | Absent]:
        """Features in the order of their names.

        Raises NotFound or FeatureOutOfRange for one that is not there, unless `allow_missing`.
        """
        found = await self.locate(names, None if full else BASIC_FIELDS, allow_missing=allow_missing)
        return await off_loop(
            found, lambda: [each if isinstance(each, Absent) else each.feature for each in found]
        )

    async def locate(
        self,
        names: Names,
        fields: tuple[str, ...] | None,
        vectors: Sequence[str] = (),
        *,
        allow_missing: bool = False,
    ) -> list[Located | Absent]:
        """The points of features, in the order of their names, with these payload fields and vectors."""

        async def read() -> list[Located | Absent]:
            wanted = await self._by_key(names, allow_missing) if names.keys else await self._by_id(names)
            found: dict[str, Located] = {}
            collections = [(live, list(ids)) for live, ids in wanted.items()]
            reads = [
                self._store.get(live.collection, ids, fields, _had(live, vectors))
                for live, ids in collections
            ]
            # A single read needs no task of its own, which would cost a lookup a tenth of its time.
            answers = [await reads[0]] if len(reads) == 1 else await asyncio.gather(*reads)
            for (live, _), points in zip(collections, answers, strict=True):
                found.update((key, Located(live, point)) for key, point in points.items() if point.payload)
            return self._in_order(names, found, await self._only_sae(names), allow_missing)

        return await self._catalogs.retried(read)

    async def page(self, call: ListCall) -> tuple[list[Feature], str]:
        """One page of an SAE's features, and the token of the next."""

        async def read() -> tuple[list[Feature], str]:
            live = await self._catalogs.get(call.sae, "sae")
            listing = (live.sae, call.filter)
            start = position_of(call.page_token, listing, 0)
            if not has_layer(live, call.filter):
                return [], ""
            points = await self._store.scroll(
                live.collection,
                INDEX,
                start,
                call.page_size + 1,
                point_filter(call.filter),
                None if call.full else BASIC_FIELDS,
            )
            features = await off_loop(
                points, lambda: _fitting([feature_of(live.sae, p.payload) for p in points[: call.page_size]])
            )
            if len(features) == len(points):
                return features, ""
            return features, page_token(listing, features[-1].index + 1)

        return await self._catalogs.retried(read)

    async def _by_key(self, names: Names, allow_missing: bool) -> Mapping[Live, set[str]]:
        """Ids by collection."""
        wanted: dict[Live, set[str]] = defaultdict(set)
        for key, field in zip(names.keys, names.fields, strict=True):
            if allow_missing and key.sae and await self._catalogs.find(key.sae) is None:
                continue
            live = await self._catalogs.get(key.sae, f"{field}.sae")
            if key.index >= live.info.catalog.feature_count and not allow_missing:
                raise FeatureOutOfRange(f"{field}.index", key.index, live.info.catalog.feature_count)
            wanted[live].add(feature_id(live.sae, key.index))
        return wanted

    async def _by_id(self, names: Names) -> Mapping[Live, set[str]]:
        """An id does not say its SAE: all are asked."""
        return {live: set(names.ids) for live in await self._catalogs.all()}

    async def _only_sae(self, names: Names) -> str:
        """The SAE that keys mean which name none."""
        unnamed = (field for key, field in zip(names.keys, names.fields, strict=False) if not key.sae)
        field = next(unnamed, None)
        return "" if field is None else (await self._catalogs.get("", f"{field}.sae")).sae

    def _in_order(
        self, names: Names, found: Mapping[str, Located], only_sae: str, allow_missing: bool
    ) -> list[Located | Absent]:
        keys: Sequence[FeatureKey | None] = [
            FeatureKey(key.sae or only_sae, key.index) for key in names.keys
        ] or [None] * len(names.ids)
        ids = [feature_id(key.sae, key.index) for key in keys if key] or names.ids
        ordered: list[Located | Absent] = []
        for name, key, field in zip(ids, keys, names.fields, strict=True):
            if name not in found and not allow_missing:
                raise NotFound(f"{field}: the feature is not in the catalogue", field=field)
            ordered.append(found.get(name) or Absent(name, key))
        return ordered


def has_layer(live: Live, which: FeatureFilter) -> bool:
    """Whether an SAE is of one of the layers that a filter names."""
    return not which.layers or live.info.catalog.layer in which.layers


def _had(live: Live, vectors: Sequence[str]) -> list[str]:
    """Those of the named vectors that a collection has: not every import brings decoder directions."""
    return [name for name in vectors if name != DECODER or live.info.d_model]


def _fitting(features: list[Feature]) -> list[Feature]:
    """The first ones, at least one, that fit an answer together."""
    size = 0
    for number, feature in enumerate(features):
        size += _wire_bytes(feature)
        if number and size > MAX_PAGE_BYTES:
            return features[:number]
    return features


def _wire_bytes(feature: Feature) -> int:
    """About what a feature takes in a message, rather more than less."""
    examples = sum(3 * len(e.text) + 8 * len(e.tokens) for e in feature.examples)
    tokens = 40 * (len(feature.promoted) + len(feature.suppressed))
    neighbors = 15 * (len(feature.decoder_neighbors) + len(feature.coactivation_neighbors))
    return 1000 + examples + tokens + neighbors + 5 * len(feature.histogram)

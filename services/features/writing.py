"""Features into a collection, with what people changed of them on top."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from services.errors import FeatureOutOfRange, InvalidField
from services.features.catalogs import Info
from services.features.decoders import stored_directions
from services.features.feature import Feature
from services.features.points import PointMaker
from services.features.requests import Upsert, UpsertCall
from services.features.revisions import Revision, Revisions
from services.features.store.base import Vector, VectorStore


def with_revision(feature: Feature, revision: Revision | None) -> Feature:
    """A feature as a person called it. A label of theirs is theirs alone: what was tested was another one."""
    if revision is None:
        return feature
    changed = replace(feature, description=revision.description, revision=revision.revision)
    if revision.label == feature.label:
        return changed
    return replace(
        changed,
        label=revision.label,
        label_source=f"person:{revision.owner}",
        label_score=None,
        label_fuzzing=None,
        label_null=None,
    )


class Writer:
    """Writes features."""

    def __init__(self, store: VectorStore, points: PointMaker, revisions: Revisions) -> None:
        self._store, self._points, self._revisions = store, points, revisions

    async def write(self, collection: str, info: Info, call: UpsertCall) -> tuple[int, int]:
        """Writes the features of a call; returns how many are new and how many were there.

        Raises InvalidField or FeatureOutOfRange where they do not fit the catalogue, CollectionMissing.
        """
        check_fit(info, call)
        sae = info.catalog.sae
        now = datetime.now(UTC)
        features = [replace(upsert.feature, sae=sae, updated=now) for upsert in call.upserts]
        given = call.vectors if call.encoder == info.catalog.encoder else {}
        indices = [feature.index for feature in features]
        applied: dict[int, int] = {}
        counts = None
        # A person may change one of them while it is written; then it is written once more.
        while pending := await self._newer(sae, indices, applied, first=counts is None):
            some = [with_revision(f, pending[f.index]) for f in features if f.index in pending]
            there = await self._store.get(collection, [f.id for f in some], ("etag", "updated"))
            decoders = _directions(call.upserts)
            points = await self._points.make(some, there, decoders=decoders, given=given)
            await self._store.upsert(collection, points)
            applied |= {f.index: f.revision for f in some}
            counts = counts or (len(points) - len(there), len(there))
        assert counts is not None
        return counts

    async def _newer(
        self, sae: str, indices: list[int], applied: Mapping[int, int], *, first: bool
    ) -> dict[int, Revision | None]:
        """Which features to write, with their latest revision: all the first time, then those changed since."""
        latest = await self._revisions.latest(sae, indices)
        if first:
            return {index: latest.get(index) for index in indices}
        return {index: head for index, head in latest.items() if head.revision > applied[index]}


def check_fit(info: Info, call: UpsertCall) -> None:
    """Raises InvalidField or FeatureOutOfRange at the first thing that does not fit the catalogue."""
    catalog = info.catalog
    bins = max(0, len(catalog.histogram_edges) - 1)
    for number, upsert in enumerate(call.upserts):
        field, feature = f"features[{number}].feature", upsert.feature
        if feature.sae not in ("", catalog.sae):
            raise InvalidField(f"{field}.key.sae", f"is {feature.sae[:200]!r}; allowed: {catalog.sae!r}")
        for name, index in _named(feature):
            if index >= catalog.feature_count:
                raise FeatureOutOfRange(f"{field}.{name}", index, catalog.feature_count)
        if len(feature.histogram) not in (0, bins):
            raise InvalidField(
                f"{field}.histogram",
                f"has {len(feature.histogram)} bins; allowed: {bins}, those between the catalogue's edges",
            )
        if upsert.decoder is not None and len(upsert.decoder) != info.d_model:
            other = f"{info.d_model} numbers" if info.d_model else "none, as the catalogue began without them"
            raise InvalidField(
                f"features[{number}].decoder", f"has {len(upsert.decoder)} numbers; allowed: {other}"
            )


def _named(feature: Feature) -> Iterator[tuple[str, int]]:
    """Every feature index that a feature names, with its path."""
    yield "key.index", feature.index
    for name in ("decoder_neighbors", "coactivation_neighbors"):
        for number, neighbor in enumerate(getattr(feature, name)):
            yield f"{name}[{number}].index", neighbor.index


def _directions(upserts: Sequence[Upsert]) -> dict[int, Vector]:
    """The decoder directions to store, by index; one of length 0 has no cosine with anything and is left out."""
    given = [(u.feature.index, u.decoder) for u in upserts if u.decoder is not None and u.decoder.any()]
    if not given:
        return {}
    stored = stored_directions(np.stack([decoder for _, decoder in given]))
    return dict(zip((index for index, _ in given), stored, strict=True))

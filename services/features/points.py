"""Points of features, with the vectors by which they are found."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.features.catalogs import Info
from services.features.embedding import Embedding
from services.features.feature import Feature
from services.features.payload import CONTEXT, DECODER, LABEL, WORDS, payload_of
from services.features.store.base import FoundPoint, Point, SparseVector, Vector
from services.features.texts import VERSION, context_text, label_text, words_text
from services.features.words import WordVectors


@dataclass(frozen=True, slots=True)
class _Draft:
    """What of a point needs no encoder."""

    feature: Feature
    payload: dict[str, Any]
    texts: Mapping[str, str]
    """By the name of the vector that each becomes."""
    words: SparseVector


class PointMaker:
    """Makes points of features."""

    def __init__(self, embedding: Embedding, words: WordVectors) -> None:
        self._embedding, self._words = embedding, words

    async def is_current(self, info: Info) -> bool:
        """Whether the vectors of a collection are those that would be made now.

        Raises DependencyUnavailable where there is no encoder.
        """
        return info.catalog.encoder == (await self._embedding.encoder()).id and info.texts == VERSION

    async def make(
        self,
        features: Sequence[Feature],
        there: Mapping[str, FoundPoint],
        *,
        decoders: Mapping[int, Vector] | None = None,
        given: Mapping[bytes, Vector] | None = None,
        vectors: Sequence[str] = (LABEL, CONTEXT),
    ) -> list[Point]:
        """The points of features. `there` are those in the store already, with their etag and update time.

        `decoders` are by index, as they are stored; `given` are vectors of texts, by digest; of `vectors`, those not
        named are not made. Raises DependencyUnavailable where the encoder is needed and there is none.
        """
        drafts = await asyncio.to_thread(
            lambda: [self._draft(feature, there, vectors) for feature in features]
        )
        texts = [text for draft in drafts for text in draft.texts.values()]
        known = await self._embedding.texts(texts, given or {}) if texts else {}
        width = (await self._embedding.encoder()).width if texts else 0
        points = []
        for draft in drafts:
            dense = {name: known[text] for name, text in draft.texts.items() if text}
            if draft.feature.id in there:  # else the store would keep the vector of a text that is gone
                empty = np.zeros(width, np.float32)
                dense |= {name: empty for name, text in draft.texts.items() if not text}
            if decoders and draft.feature.index in decoders:
                dense[DECODER] = decoders[draft.feature.index]
            points.append(Point(draft.feature.id, draft.payload, dense, {WORDS: draft.words}))
        return points

    def _draft(self, feature: Feature, there: Mapping[str, FoundPoint], vectors: Sequence[str]) -> _Draft:
        payload = payload_of(feature)
        if (old := there.get(feature.id)) and old.payload["etag"] == payload["etag"]:
            payload["updated"] = old.payload["updated"]
        every = {LABEL: label_text(feature), CONTEXT: context_text(feature)}
        texts = {name: every[name] for name in vectors}
        words = self._words.document(words_text(feature, every[CONTEXT]))
        return _Draft(feature, payload, texts, words)

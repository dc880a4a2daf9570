"""BM25 in vectors: the engine of the store has the rest, how rare a word is among all features."""

from __future__ import annotations

import numpy as np
from qdrant_edge import Bm25, Bm25Config

from services.features.store.base import SparseVector

AVERAGE_WORDS = 100.0
"""Words of a feature's text on average, stop words aside; only their ratio to a text's own number counts."""


class WordVectors:
    """English words without inflection and stop words, as sparse vectors; the same for both engines of the store."""

    def __init__(self) -> None:
        self._model = Bm25(Bm25Config(avg_len=AVERAGE_WORDS))

    def document(self, text: str) -> SparseVector:
        """The words of a feature's text, weighed by how often each stands in it."""
        vector = self._model.embed_document(text)
        return SparseVector(np.array(vector.indices, np.uint32), np.array(vector.values, np.float32))

    def query(self, text: str) -> SparseVector | None:
        """The words of a query; None if it has none that count."""
        vector = self._model.embed_query(text)
        if not vector.indices:
            return None
        return SparseVector(np.array(vector.indices, np.uint32), np.array(vector.values, np.float32))

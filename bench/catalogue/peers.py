"""What else searches vectors in Python: numpy, and qdrant-client's local mode. Both in this process, without gRPC.

They hold the labels' vectors alone, and compare a query with all of them: features of classes that Hearth's search
leaves out too, which is in their favour, for they need no filter.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from importlib.metadata import version
from typing import Protocol

import numpy as np
from qdrant_client import QdrantClient, models

from bench.catalogue import exact
from bench.catalogue.made import Made
from services.features.store.base import Vector

_COLLECTION = "labels"
_AT_ONCE = 4096


class Peer(Protocol):
    """A search among labels."""

    name: str

    def search(self, query: Vector, k: int, min_steerability: float | None = None) -> list[int]:
        """The k features whose labels are nearest, the nearest first."""
        ...


class Numpy:
    """One product of a matrix and a vector, and a partial sort; as many threads as its BLAS takes."""

    name = f"numpy {np.__version__}, brute force"

    def __init__(self, made: Made) -> None:
        self._labels, self._steerability = made.labels, made.steerability
        self._every = np.ones(len(made), np.bool_)

    def search(self, query: Vector, k: int, min_steerability: float | None = None) -> list[int]:
        """See Peer."""
        where = self._every if min_steerability is None else self._steerability >= min_steerability
        found: list[int] = exact.best(exact.scores(self._labels, query, where), k).tolist()
        return found


class QdrantLocal:
    """qdrant-client's `:memory:` mode, which is numpy and Python."""

    name = f"qdrant-client {version('qdrant-client')}, local mode"

    def __init__(self, made: Made) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns that this mode is not meant for so many points
            self._client = QdrantClient(":memory:")
            width = made.labels.shape[1]
            parameters = models.VectorParams(size=width, distance=models.Distance.COSINE)
            self._client.create_collection(_COLLECTION, vectors_config=parameters)
            for batch in _batches(made):
                self._client.upsert(_COLLECTION, batch)

    def search(self, query: Vector, k: int, min_steerability: float | None = None) -> list[int]:
        """See Peer."""
        least = None
        if min_steerability is not None:
            steers = models.FieldCondition(key="steerability", range=models.Range(gte=min_steerability))
            least = models.Filter(must=[steers])
        answer = self._client.query_points(
            _COLLECTION, query=query, limit=k, query_filter=least, with_payload=True
        )
        return [int(point.id) for point in answer.points]


def _batches(made: Made) -> Iterator[models.Batch]:
    for start in range(0, len(made), _AT_ONCE):
        part = range(start, min(start + _AT_ONCE, len(made)))
        payloads = [{"steerability": float(made.steerability[n])} for n in part]
        yield models.Batch(
            ids=[*part], vectors=made.labels[part.start : part.stop].tolist(), payloads=payloads
        )

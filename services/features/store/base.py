"""What the catalogue asks of a vector store. Two engines answer it: Qdrant in this process (edge.py) and a Qdrant
server or cluster (server.py); tests/features/store/ holds both to the same claims.

Points are Qdrant's: an id (UUID), a payload, named dense and sparse vectors. Every method may raise
DependencyUnavailable; a collection that is not there raises CollectionMissing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, UInt32
from numpy.typing import NDArray

from services.errors import HearthError

Vector = Float[NDArray[np.float32], " width"]
Payload = Mapping[str, Any]
"""JSON."""


class StoreUnusable(HearthError):
    """The store cannot be opened; the message says where it is and what to do."""


class CollectionMissing(Exception):
    """There is no such collection or alias (any more)."""


@dataclass(frozen=True, slots=True)
class SparseVector:
    """Weights of words; the store weighs them by how rare each is (IDF)."""

    indices: UInt32[NDArray[np.uint32], " words"]
    """Distinct."""
    values: Float[NDArray[np.float32], " words"]


@dataclass(frozen=True, slots=True)
class CollectionSchema:
    """What the points of a collection hold."""

    dense: Mapping[str, int]
    """Width of each named vector; compared by cosine."""
    sparse: tuple[str, ...] = ()
    keyword_fields: tuple[str, ...] = ()
    """Payload fields with an index for equality."""
    number_fields: tuple[str, ...] = ()
    """Payload fields (float) with an index for ranges."""
    integer_fields: tuple[str, ...] = ()
    """Payload fields (integer) with an index for ranges, order and equality."""
    flag_fields: tuple[str, ...] = ()
    """Payload fields (boolean) with an index."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point to write. A vector that is missing is kept where the point is already there (`upsert` says how)."""

    id: str
    payload: Payload
    dense: Mapping[str, Vector] = field(default_factory=dict)
    sparse: Mapping[str, SparseVector] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FoundPoint:
    """A point that was read."""

    id: str
    payload: Payload
    dense: Mapping[str, Vector] = field(default_factory=dict)
    score: float = 0.0
    """Cosine, or BM25; 0 where nothing was compared."""


@dataclass(frozen=True, slots=True)
class PointFilter:
    """What a point must fulfil; all of it."""

    any_of: Mapping[str, Sequence[str | int | bool]] = field(default_factory=dict)
    """Field: one of these values."""
    none_of: Mapping[str, Sequence[str | int | bool]] = field(default_factory=dict)
    """Field: none of these values."""
    at_least: Mapping[str, float] = field(default_factory=dict)
    """Field: a number of at least this; a point without the field does not fulfil it."""
    at_most: Mapping[str, float] = field(default_factory=dict)
    ids: Sequence[str] | None = None
    """One of these points."""
    not_ids: Sequence[str] = ()


EVERY_POINT = PointFilter()
"""Demands nothing."""


@dataclass(frozen=True, slots=True)
class VectorQuery:
    """The points closest to a vector."""

    using: str
    """The named vector."""
    vector: Vector | SparseVector
    limit: int
    where: PointFilter = EVERY_POINT
    fields: tuple[str, ...] | None = ()
    """Payload fields to bring; None brings all."""
    exact: bool = False
    """Compares with every point that fulfils the filter, whatever index there is."""


class VectorStore(Protocol):
    """A vector store; see this module's docstring."""

    async def ping(self) -> None:
        """Returns if the store can answer, raises DependencyUnavailable if not."""

    async def collections(self) -> list[str]:
        """Names of all collections."""

    async def create(self, collection: str, schema: CollectionSchema) -> None:
        """Makes a collection; one that is there stays as it is."""

    async def delete(self, collection: str) -> None:
        """Deletes a collection; nothing happens where there is none."""

    async def aliases(self) -> dict[str, str]:
        """Collections by alias."""

    async def switch(self, alias: str, collection: str | None) -> str | None:
        """Lets an alias name another collection (or none), at once; returns the one that it named before."""

    async def upsert(self, collection: str, points: Sequence[Point]) -> None:
        """Writes points, over those that are there. Durable when it returns.

        Payloads are replaced whole. Vectors that a point does not bring stay as they are.
        """

    async def get(
        self,
        collection: str,
        ids: Sequence[str],
        fields: tuple[str, ...] | None = None,
        vectors: Sequence[str] = (),
    ) -> dict[str, FoundPoint]:
        """Points by id, those that are there; with these payload fields (None: all) and named dense vectors."""

    async def scroll(
        self,
        collection: str,
        order_by: str,
        start: int,
        limit: int,
        where: PointFilter = EVERY_POINT,
        fields: tuple[str, ...] | None = None,
        vectors: Sequence[str] = (),
    ) -> list[FoundPoint]:
        """Points in order of an integer field, from a value on; points without the field are left out."""

    async def query(self, collection: str, queries: Sequence[VectorQuery]) -> list[list[FoundPoint]]:
        """Several queries in one go; the closest first in each answer."""

    async def count(self, collection: str, where: PointFilter = EVERY_POINT) -> int:
        """How many points there are."""

    async def optimize(self, collection: str) -> None:
        """Builds the indices of a collection that has been filled, where the engine does not do so by itself."""

    async def close(self) -> None:
        """Lets go of files and connections."""

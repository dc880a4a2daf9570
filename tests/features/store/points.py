"""Small points for the tests of the vector stores."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np

from services.features.store.base import CollectionSchema, FoundPoint, Point, SparseVector, Vector

WIDTH = 8
COUNT = 40
SCHEMA = CollectionSchema(
    dense={"label": WIDTH, "context": WIDTH},
    sparse=("words",),
    keyword_fields=("class",),
    number_fields=("density",),
    integer_fields=("index", "layer"),
    flag_fields=("labelled",),
)


def point_id(index: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"point {index}"))


def direction(seed: int) -> Vector:
    """A random unit vector."""
    vector = np.random.default_rng(seed).normal(size=WIDTH).astype(np.float32)
    return vector / np.linalg.norm(vector)


def words(indices: Sequence[int], values: Sequence[float] | None = None) -> SparseVector:
    weights = np.ones(len(indices)) if values is None else np.asarray(values)
    return SparseVector(np.asarray(indices, np.uint32), weights.astype(np.float32))


def point(index: int, **payload: Any) -> Point:
    """Point `index`: class a or b in turn, density index / 100, every third labelled, word `index % 5` and word 9."""
    own = {
        "index": index,
        "layer": index % 4,
        "class": "ab"[index % 2],
        "density": index / 100,
        "labelled": index % 3 == 0,
        "label": f"feature {index}",
    }
    return Point(
        point_id(index),
        own | payload,
        {"label": direction(index), "context": direction(1000 + index)},
        {"words": words([index % 5, 9], [1.0, 0.5])},
    )


def indices(found: Sequence[FoundPoint]) -> list[int]:
    return [each.payload["index"] for each in found]

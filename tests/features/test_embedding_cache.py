"""Vectors of texts that were embedded before, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import hashlib

import numpy as np

from services.database.database import Database
from services.features.embedding_cache import EmbeddingCache
from services.features.store.base import Vector

WIDTH = 384


def some_vectors(count: int, seed: int = 0) -> dict[bytes, Vector]:
    generator = np.random.default_rng(seed)
    vectors = generator.standard_normal((count, WIDTH)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return {hashlib.sha256(f"{n}".encode()).digest(): vector for n, vector in enumerate(vectors)}


async def test_vectors_come_back_as_the_nearest_half_floats(database: Database) -> None:
    cache = EmbeddingCache(database)
    vectors = some_vectors(1201)  # more than one batch
    await cache.put("minilm@1", vectors)
    found = await cache.get("minilm@1", [*vectors, *vectors])
    assert found.keys() == vectors.keys()
    for digest, vector in vectors.items():
        assert found[digest].dtype == np.float32
        np.testing.assert_array_equal(found[digest], vector.astype(np.float16).astype(np.float32))
        assert float(found[digest] @ vector) / float(np.linalg.norm(found[digest])) > 1 - 1e-6


async def test_only_what_is_there_comes_back_and_another_encoder_has_its_own(database: Database) -> None:
    cache = EmbeddingCache(database)
    vectors = some_vectors(3)
    first, second, third = vectors
    await cache.put("minilm@1", {first: vectors[first], second: vectors[second]})
    assert (await cache.get("minilm@1", [first, third])).keys() == {first}
    assert await cache.get("minilm@2", [first]) == {}
    assert await cache.get("minilm@1", []) == {}
    await cache.put("minilm@1", {})


async def test_what_is_there_stays(database: Database) -> None:
    cache = EmbeddingCache(database)
    old, new = some_vectors(2), some_vectors(3, seed=1)
    await cache.put("e", old)
    await cache.put("e", new)
    found = await cache.get("e", list(new))
    assert len(found) == 3
    for digest, vector in (new | old).items():
        np.testing.assert_array_equal(found[digest], vector.astype(np.float16).astype(np.float32))


async def test_writers_of_the_same_texts_do_not_stop_each_other(database: Database) -> None:
    cache = EmbeddingCache(database)
    vectors = some_vectors(400)
    backwards = dict(reversed(vectors.items()))
    await asyncio.gather(*(cache.put("e", each) for each in (vectors, backwards) * 3))
    assert len(await cache.get("e", list(vectors))) == 400

"""Vectors of texts: encoded off the event loop, queries together, none twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping, Sequence

import numpy as np
import pytest

from services.errors import DependencyUnavailable
from services.features import embedding as module
from services.features.embedding import Embedding
from services.features.encoders import SentenceEncoder
from services.features.store.base import Vector
from services.features.texts import text_digest
from services.fetched.errors import IndexUnreachable
from tests.features.made_features import WIDTH, WordEncoder


class Memory:
    """A cache of vectors in memory."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, bytes], Vector] = {}

    async def get(self, encoder: str, digests: Sequence[bytes]) -> Mapping[bytes, Vector]:
        return {digest: self.kept[encoder, digest] for digest in digests if (encoder, digest) in self.kept}

    async def put(self, encoder: str, vectors: Mapping[bytes, Vector]) -> None:
        self.kept |= {(encoder, digest): vector for digest, vector in vectors.items()}


class Held(WordEncoder):
    """An encoder that waits, in its thread, until it is let; says when it is at work."""

    def __init__(self) -> None:
        super().__init__()
        self.at_work, self.go_on = threading.Event(), threading.Event()

    def encode(self, texts: Sequence[str]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        self.at_work.set()
        assert self.go_on.wait(10)
        return super().encode(texts)


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
async def embedding(held: Held) -> AsyncIterator[Embedding]:
    made = Embedding(held.load, Memory())
    made.start()
    yield made
    held.go_on.set()
    await made.close()


async def test_queries_that_arrive_while_one_is_encoded_are_encoded_together(
    embedding: Embedding, held: Held
) -> None:
    first = asyncio.create_task(embedding.query("first"))
    await asyncio.to_thread(held.at_work.wait, 10)
    others = [asyncio.create_task(embedding.query(f"other {number % 5}")) for number in range(10)]
    await asyncio.sleep(0)  # all of them have asked by now, and the event loop was free to let them
    held.go_on.set()
    vectors = await asyncio.gather(first, *others)
    assert held.calls == [["first"], [f"other {number}" for number in range(5)]]
    assert np.array_equal(vectors[1], vectors[6])
    for text, vector in zip(["first", "other 0"], vectors, strict=False):
        assert np.array_equal(vector, WordEncoder().encode([text])[0])


async def test_a_query_is_not_encoded_again_and_goes_before_texts(embedding: Embedding, held: Held) -> None:
    held.go_on.set()
    one = await embedding.query("once")
    assert await embedding.query("once") is one
    assert held.calls == [["once"]]
    held.go_on.clear()
    held.at_work.clear()
    texts = asyncio.create_task(embedding.texts([f"text {n:02}" for n in range(70)], {}))
    await asyncio.to_thread(held.at_work.wait, 10)
    query = asyncio.create_task(embedding.query("urgent"))
    await asyncio.sleep(0)
    held.go_on.set()
    await asyncio.gather(texts, query)
    assert [len(call) for call in held.calls] == [1, 32, 1, 32, 6]


async def test_a_caller_that_leaves_takes_the_answer_from_nobody(embedding: Embedding, held: Held) -> None:
    leaving, staying = (asyncio.create_task(embedding.query("the same")) for _ in range(2))
    await asyncio.to_thread(held.at_work.wait, 10)
    leaving.cancel()
    held.go_on.set()
    assert (await staying).shape == (WIDTH,)
    assert held.calls == [["the same"]]


async def test_remembered_queries_are_few(
    embedding: Embedding, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 2)
    held.go_on.set()
    for text in ("a", "b", "a", "c", "a", "b"):
        await embedding.query(text)
    assert held.calls == [["a"], ["b"], ["c"], ["b"]]


async def test_given_vectors_then_cached_ones_then_new_ones(embedding: Embedding, held: Held) -> None:
    held.go_on.set()
    await embedding.texts(["cached"], {})
    given = np.eye(WIDTH, dtype=np.float32)[0]
    known = await embedding.texts(["given", "cached", "new", "", "new"], {text_digest("given"): given})
    assert set(known) == {"given", "cached", "new"}
    assert np.array_equal(known["given"], given)
    assert held.calls == [["cached"], ["new"]]


async def test_an_encoder_that_fails_fails_its_callers_and_no_others(
    embedding: Embedding, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    held.go_on.set()

    def broken(texts: Sequence[str]) -> None:
        raise RuntimeError("out of memory")

    encoder = await embedding.encoder()
    monkeypatch.setattr(
        embedding,
        "_encoder",
        SentenceEncoder(encoder.id, encoder.width, broken),  # type: ignore[arg-type]
    )
    with pytest.raises(RuntimeError, match="out of memory"):
        await embedding.query("one")
    with pytest.raises(RuntimeError, match="out of memory"):
        await embedding.texts(["two"], {})
    monkeypatch.setattr(embedding, "_encoder", encoder)
    assert (await embedding.query("one")).shape == (WIDTH,)


async def test_an_encoder_that_cannot_be_loaded_is_unavailable_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    tries = 0

    def load() -> SentenceEncoder:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise IndexUnreachable("the package index does not answer")
        return WordEncoder().load()

    embedding = Embedding(load, Memory())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await embedding.query("not started")
    embedding.start()
    await embedding.tried()
    with pytest.raises(DependencyUnavailable, match="package index") as caught:
        await embedding.query("too early")
    assert caught.value.retry_after
    assert embedding._loading is not None
    await embedding._loading  # ends once the encoder is there
    assert tries == 2
    assert (await embedding.query("again")).shape == (WIDTH,)
    await embedding.close()


async def test_a_query_does_not_wait_long_for_an_encoder_that_loads(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOADING_SECONDS", 0.05)
    go_on = threading.Event()

    def loading() -> SentenceEncoder:
        assert go_on.wait(10)
        return held.load()

    made = Embedding(loading, Memory())
    made.start()
    with pytest.raises(DependencyUnavailable, match="being loaded") as told:
        await made.query("sea")
    assert told.value.retry_after == pytest.approx(0.05)
    go_on.set()
    held.go_on.set()
    await made.tried()
    assert (await made.query("sea")).shape == (WIDTH,)
    await made.close()

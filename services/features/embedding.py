"""Vectors of texts: encoded on one thread of their own, queries that arrive together at once, none twice."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from services.errors import DependencyUnavailable, HearthError
from services.features.encoders import LoadEncoder, SentenceEncoder
from services.features.store.base import Vector
from services.features.texts import text_digest
from services.rpc.logs import structured

log = logging.getLogger("hearth.features")

QUERY_BATCH = 32
"""Queries encoded together, at most."""
TEXT_BATCH = 32
"""Texts of an import encoded together: a query that arrives waits for no more of them (0.2 s of one core)."""
REMEMBERED = 4096
"""Vectors of queries that are kept: 6 MB."""
LOADING_SECONDS = 5.0
"""That a query waits for an encoder that loads; then its caller is told to come again."""
RETRY_SECONDS = 30.0
"""After which an encoder that could not be loaded is tried again."""
_NORM_TOLERANCE = 0.01

Vectors = Float[NDArray[np.float32], "texts width"]


class VectorCache(Protocol):
    """Where vectors of labels and contexts are kept; encodings are found by encoder and text."""

    async def get(self, encoder: str, digests: Sequence[bytes]) -> Mapping[bytes, Vector]:
        """The vectors that are there, by SHA-256 of their text."""

    async def put(self, encoder: str, vectors: Mapping[bytes, Vector]) -> None:
        """Keeps vectors."""


class Embedding:
    """The sentence encoder of a process. `start` loads it in the background; whoever needs it before waits."""

    def __init__(self, load: LoadEncoder, cache: VectorCache) -> None:
        self._load, self._cache = load, cache
        self._thread = ThreadPoolExecutor(1, "encoder")
        self._encoder: SentenceEncoder | None = None
        self._problem = ""
        self._tried = asyncio.Event()
        self._loading: asyncio.Task[None] | None = None
        self._running: asyncio.Task[None] | None = None
        self._work = asyncio.Event()
        self._queries: OrderedDict[str, asyncio.Future[Vector]] = OrderedDict()
        self._texts: list[tuple[list[str], asyncio.Future[Vectors]]] = []
        self._remembered: OrderedDict[str, Vector] = OrderedDict()

    def start(self) -> None:
        """Begins to load."""
        self._loading = asyncio.create_task(self._keep_loading())
        self._running = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Ends the thread; texts that still wait are dropped."""
        for task in (self._loading, self._running):
            if task is not None:
                task.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def tried(self) -> None:
        """Returns once the encoder is loaded, or could not be for the first time."""
        await self._tried.wait()

    @property
    def identity(self) -> str:
        """The encoder's id; empty while it is not loaded."""
        return self._encoder.id if self._encoder else ""

    async def encoder(self) -> SentenceEncoder:
        """The encoder, waited for while it loads. Raises DependencyUnavailable where it cannot be loaded."""
        await self._tried.wait()
        if self._encoder is None:
            raise DependencyUnavailable("the sentence encoder", self._problem, RETRY_SECONDS)
        return self._encoder

    async def query(self, text: str) -> Vector:
        """The vector of a query. Raises DependencyUnavailable where there is no encoder, or none yet."""
        if not self._tried.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._tried.wait(), LOADING_SECONDS)
        if not self._tried.is_set():
            raise DependencyUnavailable("the sentence encoder", "it is being loaded", LOADING_SECONDS)
        await self.encoder()
        if text in self._remembered:
            self._remembered.move_to_end(text)
            return self._remembered[text]
        future = self._queries.get(text)
        if future is None:
            future = self._queries[text] = asyncio.get_running_loop().create_future()
            self._work.set()
        return await asyncio.shield(future)  # whoever gives up must not take the answer from the others

    async def texts(self, texts: Sequence[str], given: Mapping[bytes, Vector]) -> dict[str, Vector]:
        """Vectors of labels and contexts, by text; empty texts have none.

        Those `given` (by SHA-256 of the text, made with this very encoder) are taken where width and norm are right,
        then those of the cache; others are made, and kept in it.
        """
        encoder = await self.encoder()
        digests = {text: text_digest(text) for text in texts if text}
        known = {digest: vector for digest, vector in given.items() if _is_sound(vector, encoder.width)}
        missing = [digest for digest in digests.values() if digest not in known]
        known |= await self._cache.get(encoder.id, missing)
        unknown = sorted((text for text, digest in digests.items() if digest not in known), key=len)
        made: dict[bytes, Vector] = {}
        for start in range(0, len(unknown), TEXT_BATCH):
            part = unknown[start : start + TEXT_BATCH]
            made |= zip((digests[text] for text in part), await self._encode(part), strict=True)
        if made:
            await self._cache.put(encoder.id, made)
        known |= made
        return {text: known[digest] for text, digest in digests.items()}

    async def _encode(self, texts: list[str]) -> Vectors:
        future: asyncio.Future[Vectors] = asyncio.get_running_loop().create_future()
        self._texts.append((texts, future))
        self._work.set()
        return await future

    async def _run(self) -> None:
        """Encodes what waits, queries first."""
        while True:
            await self._work.wait()
            if self._queries:
                part = list(self._queries.items())[:QUERY_BATCH]
                await self._answer_queries(dict(part))
            elif self._texts:
                texts, future = self._texts.pop(0)
                if not future.cancelled():
                    await self._answer(texts, future)
            else:
                self._work.clear()

    async def _answer_queries(self, queries: dict[str, asyncio.Future[Vector]]) -> None:
        every: asyncio.Future[Vectors] = asyncio.get_running_loop().create_future()
        await self._answer(list(queries), every)
        for text in queries:
            del self._queries[text]
        if error := every.exception():
            for future in queries.values():
                future.set_exception(error)
                future.exception()  # seen, even if nobody waits any more
            return
        for (text, future), vector in zip(queries.items(), every.result(), strict=True):
            self._remembered[text] = vector
            future.set_result(vector)
        while len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)

    async def _answer(self, texts: list[str], future: asyncio.Future[Vectors]) -> None:
        assert self._encoder is not None  # nothing is queued before
        try:
            vectors = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._encoder.encode, texts
            )
        except Exception as error:  # torch raises what it likes; the caller's answer is an internal error
            if not future.done():
                future.set_exception(error)
        else:
            if not future.done():
                future.set_result(vectors)

    async def _keep_loading(self) -> None:
        while self._encoder is None:
            try:
                self._encoder = await asyncio.get_running_loop().run_in_executor(self._thread, self._load)
                log.info("sentence encoder loaded", extra=structured(encoder=self._encoder.id))
            except (HearthError, OSError, ValueError, ImportError) as error:
                self._problem = f"it cannot be loaded: {error}"
                log.error("the sentence encoder cannot be loaded", extra=structured(problem=str(error)))
            self._tried.set()
            if self._encoder is None:
                await asyncio.sleep(RETRY_SECONDS)


def _is_sound(vector: Vector, width: int) -> bool:
    """Whether a vector can be one of the encoder's."""
    return vector.shape == (width,) and abs(float(np.linalg.norm(vector)) - 1) <= _NORM_TOLERANCE

"""Vectors of texts that have been embedded before, by encoder and SHA-256 of the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from services.database.database import Database
from services.features.database.tables import EmbeddingRow
from services.features.store.base import Vector

_STORED = np.dtype("<f2")
_BATCH = 500
"""Vectors in one transaction: SQLite lets others write in between, and no statement has too many parameters."""


class EmbeddingCache:
    """Keeps vectors as float16, whose rounding (at most 0.05 %) moves a cosine by less than 0.0005.

    Every method may raise DependencyUnavailable.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, encoder: str, digests: Sequence[bytes]) -> dict[bytes, Vector]:
        """The vectors that are there, by digest of the text."""
        wanted = list(dict.fromkeys(digests))
        found: dict[bytes, Vector] = {}
        for start in range(0, len(wanted), _BATCH):
            some = wanted[start : start + _BATCH]
            found.update(await self._database.read(partial(_get, encoder=encoder, digests=some)))
        return found

    async def put(self, encoder: str, vectors: Mapping[bytes, Vector]) -> None:
        """Keeps vectors, by digest of the text; those that are there stay. Durable when it returns."""
        # In order, so that two processes that write the same texts never wait for each other in a circle.
        ordered = sorted(vectors)
        for start in range(0, len(ordered), _BATCH):
            rows: list[dict[str, object]] = [
                {
                    "encoder": encoder,
                    "text_digest": digest,
                    "vector": np.asarray(vectors[digest], _STORED).tobytes(),
                }
                for digest in ordered[start : start + _BATCH]
            ]
            await self._database.write(partial(_put, rows=rows))


def _get(session: Session, encoder: str, digests: list[bytes]) -> dict[bytes, Vector]:
    rows = session.execute(
        select(EmbeddingRow.text_digest, EmbeddingRow.vector).where(
            EmbeddingRow.encoder == encoder, EmbeddingRow.text_digest.in_(digests)
        )
    )
    return {digest: np.frombuffer(vector, _STORED).astype(np.float32) for digest, vector in rows}


def _put(session: Session, rows: list[dict[str, object]]) -> None:
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    session.execute(insert(EmbeddingRow).on_conflict_do_nothing(), rows)

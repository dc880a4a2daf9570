"""A collection of the embedded engine: a shard that is open, or away while another process optimizes it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qdrant_edge import EdgeShard, UpdateOperation

from services.errors import DependencyUnavailable
from services.features.store import edge_optimizer, edge_words, tuning
from services.features.store.base import CollectionMissing, CollectionSchema, Point

if TYPE_CHECKING:
    from qdrant_edge import NamedVector, PointId

POINTS_PER_FLUSH = 16_384
"""So many new points may lie in the log alone: opening a folder after a kill writes them anew, 4,000 a second."""


class Shard:
    """The shard of a collection. Its methods are safe in threads, and block."""

    def __init__(self, name: str, schema: CollectionSchema, folder: Path, threads: int) -> None:
        """Opens the shard that lies in the folder. Whatever is wrong with it, qdrant_edge raises Exception."""
        self.name = name
        self.schema = schema
        self._folder = folder
        self._threads = threads
        self._writing = threading.Lock()
        """Held from reading what an upsert keeps until it is written, and while the shard is closed or opened."""
        self._unflushed = 0
        self._closed = False
        self._interrupted = False
        self._optimizer: subprocess.Popen[bytes] | None = None
        self._edge: EdgeShard | None = self._load()

    @staticmethod
    def create(schema: CollectionSchema, folder: Path, threads: int) -> None:
        """Makes an empty shard in the folder."""
        edge = EdgeShard.create(str(folder), edge_words.config(schema, threads))
        for payload_field, kind in edge_words.indexed_fields(schema).items():
            edge.update(UpdateOperation.create_field_index(payload_field, kind))
        edge.flush()
        edge.close()

    @property
    def edge(self) -> EdgeShard:
        """The open shard. Raises DependencyUnavailable while it is away, CollectionMissing when it has been closed."""
        if self._closed:
            raise CollectionMissing(self.name)
        if self._edge is None:
            raise DependencyUnavailable("the vector store", f"{self.name} is being optimized", retry_after=10)
        return self._edge

    def upsert(self, points: Sequence[Point]) -> None:
        """Writes points as one record of the log."""
        with self._writing:
            edge = self.edge
            kept = _kept(edge, self.schema, points)
            edge_points = [edge_words.point(point, kept.get(point.id, {})) for point in points]
            edge.update(UpdateOperation.upsert_points(edge_points))
            self._unflushed += len(points)
            if self._unflushed >= POINTS_PER_FLUSH:
                edge.flush()
                self._unflushed = 0

    def optimize(self) -> None:
        """Builds the indices. A large shard is away meanwhile; a small one has little to build."""
        with self._writing:
            edge = self.edge
            size = edge.info().points_count * max(self.schema.dense.values(), default=0) * 4 >> 10
            if size <= tuning.INDEXED_FROM_KB:
                edge.optimize()
                edge.flush()
                return
            self._edge = None
            edge.close()
        try:
            self._run_optimizer()
        finally:
            with self._writing:
                self._edge = self._load()

    def interrupt(self) -> None:
        """Breaks off the optimizing that runs, and any that would follow."""
        self._interrupted = True
        if self._optimizer is not None:
            self._optimizer.kill()

    def close(self) -> None:
        """Writes everything out. Raises DependencyUnavailable while the shard is away.

        A call that runs meanwhile may end in any error of qdrant_edge; the next look at `edge` says what it means.
        """
        with self._writing:
            edge = self.edge
            self._closed = True
            edge.close()

    def _load(self) -> EdgeShard:
        self._unflushed = 0
        return EdgeShard.load(str(self._folder), edge_words.config(self.schema, self._threads))

    def _run_optimizer(self) -> None:
        command = [sys.executable, "-P", edge_optimizer.__file__, str(self._folder), str(os.getpid())]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as self._optimizer:
            if self._interrupted:
                self._optimizer.kill()
            _, said = self._optimizer.communicate()
        code, self._optimizer = self._optimizer.returncode, None
        if code != 0:
            last = said.decode(errors="replace").strip().rpartition("\n")[2]
            raise DependencyUnavailable(
                "the vector store", f"optimizing {self.name} broke off: {last or f'exit status {code}'}"
            )


def _kept(
    edge: EdgeShard, schema: CollectionSchema, points: Sequence[Point]
) -> dict[str, dict[str, NamedVector]]:
    """Of points that do not bring every vector: those that they have, by id. Qdrant's own upsert would drop them."""
    every = {*schema.dense, *schema.sparse}
    lacking: list[PointId] = [point.id for point in points if every - {*point.dense, *point.sparse}]
    if not lacking:
        return {}
    records = edge.retrieve(lacking, with_payload=False, with_vector=True)
    return {str(record.id): record.vector for record in records if isinstance(record.vector, dict)}

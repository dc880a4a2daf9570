"""The folder of the embedded engine: a lock, a shard for each collection, and a file of aliases.

    data/lock                      held by the process that uses the folder
    data/aliases.json              collections by alias; replaced as a whole
    data/collections/NAME/         a collection:
        collection.json            written last when it is made: without it, the rest is a broken-off attempt
        shard/                     Qdrant's files
    data/collections/.removed-*    on its way out

Everything here blocks; edge.py keeps it off the event loop.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout

from services.features.store.base import CollectionMissing, CollectionSchema, StoreUnusable
from services.features.store.edge_shard import Shard

MARKER = "collection.json"
SHARD = "shard"
_REMOVED = ".removed-"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


class EdgeFolder:
    """The collections and aliases of one folder, which no other process uses meanwhile.

    Safe in threads.
    """

    def __init__(self, path: Path, threads: int) -> None:
        """Opens the folder, makes it where it is missing, clears away what was left half-made.

        Each collection searches segments and builds indices with so many threads. Raises StoreUnusable if another
        process holds the folder, or a file in it is broken.
        """
        self.path = path
        self._threads = threads
        self._changing = threading.Lock()
        self._collections = path / "collections"
        try:
            self._collections.mkdir(parents=True, exist_ok=True)
            # Not of one thread: the one that closes the folder is seldom the one that opened it.
            self._lock = FileLock(path / "lock", timeout=0, thread_local=False)
            self._lock.acquire()
        except Timeout:
            raise _in_use(path) from None
        except OSError as error:
            raise StoreUnusable(f"the vector store in {path} cannot be opened: {error}") from error
        try:
            self._shards = self._load()
            self._aliases = self._read_aliases()
        except BaseException:
            self._lock.release()
            raise

    def shard(self, name: str) -> Shard:
        """The collection of that name or alias. Raises CollectionMissing."""
        shard = self._shards.get(self._aliases.get(name, name))
        if shard is None:
            raise CollectionMissing(name)
        return shard

    def names(self) -> list[str]:
        """Names of all collections."""
        return sorted(self._shards)

    def aliases(self) -> dict[str, str]:
        """Collections by alias."""
        return dict(self._aliases)

    def create(self, name: str, schema: CollectionSchema) -> None:
        """Makes a collection; one that is there stays as it is."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot name a collection")
        with self._changing:
            if name in self._shards:
                return
            folder = self._collections / name
            shutil.rmtree(folder, ignore_errors=True)  # an attempt that failed
            (folder / SHARD).mkdir(parents=True)
            Shard.create(schema, folder / SHARD, self._threads)
            _write(folder / MARKER, {"schema": asdict(schema)})
            _sync(self._collections)
            self._shards = self._shards | {name: Shard(name, schema, folder / SHARD, self._threads)}

    def delete(self, name: str) -> None:
        """Deletes a collection and the aliases that name it; nothing happens where there is none."""
        with self._changing:
            shard = self._shards.get(name)
            if shard is None:
                return
            shard.close()
            remaining = {alias: to for alias, to in self._aliases.items() if to != name}
            if remaining != self._aliases:
                self._write_aliases(remaining)
            self._shards = {other: open_ for other, open_ in self._shards.items() if other != name}
            removed = self._collections / f"{_REMOVED}{name}"
            shutil.rmtree(removed, ignore_errors=True)  # an attempt that failed
            (self._collections / name).rename(removed)
            _sync(self._collections)
            shutil.rmtree(removed)

    def switch(self, alias: str, name: str | None) -> str | None:
        """Lets an alias name another collection, or none; returns the one that it named before."""
        with self._changing:
            if name is not None and name not in self._shards:
                raise CollectionMissing(name)
            before = self._aliases.get(alias)
            if before != name:
                others = {other: to for other, to in self._aliases.items() if other != alias}
                self._write_aliases(others if name is None else others | {alias: name})
            return before

    def interrupt(self) -> None:
        """Breaks off what may take minutes."""
        for shard in self._shards.values():
            shard.interrupt()

    def close(self) -> None:
        """Writes everything out and lets go of the folder."""
        with self._changing:
            shards, self._shards = self._shards, {}
            for shard in shards.values():
                shard.close()
            self._lock.release()

    def _load(self) -> dict[str, Shard]:
        shards = {}
        for folder in sorted(self._collections.iterdir()):
            if folder.name.startswith(_REMOVED) or not (folder / MARKER).exists():
                shutil.rmtree(folder)
                continue
            try:
                schema = _schema(folder / MARKER)
                shards[folder.name] = Shard(folder.name, schema, folder / SHARD, self._threads)
            except Exception as error:  # qdrant_edge raises nothing more exact
                if "WouldBlock" in str(
                    error
                ):  # the optimizer of a process that was killed, on its own way out
                    raise _in_use(self.path) from error
                raise StoreUnusable(
                    f"the collection in {folder} cannot be opened ({error}); "
                    "delete the folder and import its features again"
                ) from error
        return shards

    def _read_aliases(self) -> dict[str, str]:
        path = self.path / "aliases.json"
        try:
            aliases: dict[str, str] = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise StoreUnusable(f"{path} is broken: {error}") from error
        return {alias: name for alias, name in aliases.items() if name in self._shards}

    def _write_aliases(self, aliases: dict[str, str]) -> None:
        _write(self.path / "aliases.json", aliases)
        self._aliases = aliases


def _in_use(path: Path) -> StoreUnusable:
    return StoreUnusable(
        f"the vector store in {path} is in use by another process; stop it, or choose another folder"
    )


def _schema(path: Path) -> CollectionSchema:
    content = json.loads(path.read_text("utf-8"))["schema"]
    return CollectionSchema(
        content["dense"], **{name: tuple(value) for name, value in content.items() if name != "dense"}
    )


def _write(path: Path, content: object) -> None:
    """The file is the old one or the new one, whenever the process or the machine dies."""
    draft = path.with_suffix(".draft")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

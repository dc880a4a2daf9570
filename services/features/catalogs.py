"""Which SAEs are in the catalogue, and which collection of the store holds each.

The features of an SAE lie in one collection, which an alias names; whoever switches the alias shows other features at
once. What is known of the SAE itself is a point of that same collection, so that it is switched with them.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from services.errors import DependencyUnavailable, InvalidField, NotFound
from services.features.feature import NAMESPACE, Catalog
from services.features.store.base import CollectionMissing, Point, VectorStore

INFO_ID = str(uuid.uuid5(NAMESPACE, "info"))
"""The point that holds an Info; it has no vector and no index, so that nothing finds it but its id."""
PREFIX = "hearth--"
FRESH_SECONDS = 2.0
"""How long the list of aliases is believed: a catalogue that another process shows is seen after this."""
_FINGERPRINT_CHARACTERS = 12
_ATTEMPTS = 3
_NEVER = float("-inf")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Info:
    """What is known of the features of one SAE as a whole."""

    catalog: Catalog
    content_digest: str
    """Of what was imported, in the importer's words."""
    texts: int
    """Version of the texts that were embedded; see texts.py."""
    d_model: int = 0
    """Numbers of a decoder direction; 0 if the collection has none."""

    @property
    def fingerprint(self) -> str:
        """Tells imports apart: other content, another encoder, or other texts make another one."""
        same = replace(self, catalog=replace(self.catalog, imported=None), d_model=0)
        return hashlib.sha256(repr(same).encode()).hexdigest()[:_FINGERPRINT_CHARACTERS]

    def point(self) -> Point:
        """The point that holds it."""
        values = asdict(self)
        imported = self.catalog.imported
        values["catalog"]["imported"] = imported.isoformat() if imported else ""
        return Point(INFO_ID, {"info": values})

    @classmethod
    def of(cls, payload: Any) -> Info:
        """The Info of a point's payload."""
        values = dict(payload["info"])
        catalog = dict(values.pop("catalog"))
        imported, edges = catalog.pop("imported"), tuple(catalog.pop("histogram_edges"))
        made = datetime.fromisoformat(imported) if imported else None
        return cls(Catalog(**catalog, histogram_edges=edges, imported=made), **values)


@dataclass(frozen=True, slots=True)
class Live:
    """Features that are shown."""

    collection: str
    info: Info

    @property
    def sae(self) -> str:
        """The SAE's id."""
        return self.info.catalog.sae


def alias_of(sae: str) -> str:
    """The alias of an SAE's features: readable, and no other SAE's."""
    readable = re.sub(r"[^a-z0-9]+", "-", sae.lower()).strip("-")[:40]
    return f"{PREFIX}{readable}-{hashlib.sha256(sae.encode()).hexdigest()[:8]}"


def collection_of(info: Info, generation: int) -> str:
    """The collection of an import. The same content imported anew is another generation."""
    return f"{alias_of(info.catalog.sae)}--{info.fingerprint}--{generation}"


def next_generation(info: Info, live: Live | None) -> int:
    """The generation that an import has while `live` is shown."""
    if live is None or live.info.fingerprint != info.fingerprint:
        return 1
    return int(live.collection.rpartition("--")[2]) + 1


class Catalogs:
    """The features that are shown, as a process knows them."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self._live: dict[str, Live] = {}
        self._read_at = _NEVER
        self._changes = 0
        self._reading = asyncio.Lock()
        self._locks: dict[str, asyncio.Lock] = {}

    def writing(self, sae: str) -> asyncio.Lock:
        """Held by whoever reads features of an SAE in order to change them, or switches its alias."""
        return self._locks.setdefault(sae, asyncio.Lock())

    def forget(self) -> None:
        """Reads the aliases anew when they are next needed."""
        self._read_at = _NEVER
        self._changes += 1

    async def all(self) -> list[Live]:
        """All that are shown, in order of SAE id."""
        return sorted((await self._current()).values(), key=lambda live: live.sae)

    async def find(self, sae: str) -> Live | None:
        """The features of an SAE, None if there are none."""
        live = await self._current()
        if sae not in live:  # perhaps another process has just shown it
            self.forget()
            live = await self._current()
        return live.get(sae)

    async def get(self, sae: str, field: str) -> Live:
        """The features of an SAE, of the only one where `sae` is empty.

        Raises NotFound where it has none, InvalidField where it is empty and there are several; both name `field`.
        """
        if sae:
            found = await self.find(sae)
            if found is None:
                raise NotFound(
                    f"{field}: the features of {sae[:200]!r} are not in the catalogue", field=field
                )
            return found
        every = await self.all()
        if len(every) > 1:
            known = ", ".join(live.sae for live in every)[:500]
            raise InvalidField(field, f"it is empty, and there are several SAEs; allowed: one of {known}")
        if not every:
            raise NotFound(f"{field}: the catalogue is empty", field=field)
        return every[0]

    async def retried(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """What `work` answers; again, with the aliases read anew, where a collection was replaced meanwhile."""
        for _ in range(_ATTEMPTS):
            try:
                return await work()
            except CollectionMissing:
                self.forget()
        raise DependencyUnavailable("the catalogue", "its features are being replaced")

    async def info(self, collection: str) -> Info | None:
        """What a collection says of itself; None where there is none or it does not say."""
        try:
            found = await self._store.get(collection, [INFO_ID])
        except CollectionMissing:
            return None
        return Info.of(found[INFO_ID].payload) if INFO_ID in found else None

    async def others(self, sae: str) -> list[str]:
        """The collections of an SAE that are not shown: imports that go on or were broken off, and what is replaced."""
        alias = alias_of(sae)
        shown = (await self._store.aliases()).get(alias)
        return [
            name
            for name in await self._store.collections()
            if name.startswith(alias + "--") and name != shown
        ]

    async def _current(self) -> dict[str, Live]:
        if time.monotonic() - self._read_at < FRESH_SECONDS:
            return self._live
        async with self._reading:
            if time.monotonic() - self._read_at >= FRESH_SECONDS:
                changes = self._changes
                self._live = await self._read()
                if changes == self._changes:  # else what was read is already of the past
                    self._read_at = time.monotonic()
        return self._live

    async def _read(self) -> dict[str, Live]:
        known = {live.collection: live for live in self._live.values()}
        live = []
        for alias, collection in (await self._store.aliases()).items():
            if not alias.startswith(PREFIX):
                continue
            if collection in known:  # what a collection says of itself stays, once it is shown
                live.append(known[collection])
            elif info := await self.info(collection):
                live.append(Live(collection, info))
        return {each.sae: each for each in live}

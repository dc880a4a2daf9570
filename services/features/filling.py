"""Collections that are being filled, from the first feature to the last: those of imports, and those of a rebuild."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from services.features.catalogs import Catalogs, Info
from services.features.decoders import stored_width
from services.features.payload import INDEX, schema
from services.features.store.base import PointFilter, VectorStore

IDLE_SECONDS = 900.0
"""After which a collection that nothing is written to may be thrown away when another one is shown."""


@dataclass(slots=True)
class Filling:
    """A collection that is being filled, as this process knows it."""

    info: Info
    next_index: int
    """Features 0 to next_index - 1 are stored."""
    stored: int
    """Features in it; more than next_index where they came out of order."""
    used: float = field(default_factory=time.monotonic)
    """When something was last written, by the monotonic clock."""


class Fillings:
    """Makes collections and knows how far each is filled, also after a restart."""

    def __init__(self, store: VectorStore, catalogs: Catalogs) -> None:
        self._store, self._catalogs = store, catalogs
        self._known: dict[str, Filling] = {}

    async def find(self, collection: str) -> Filling | None:
        """A collection that was begun; None if there is none."""
        if collection not in self._known:
            info = await self._catalogs.info(collection)
            if info is None:
                return None
            stored = await self.stored(collection)
            known = Filling(info, await self._contiguous(collection, 0, stored), stored)
            self._known.setdefault(collection, known)
        return self._known[collection]

    async def begin(self, collection: str, info: Info, width: int) -> Filling:
        """A collection for texts' vectors of `width`, made now unless it was begun before."""
        if (known := await self.find(collection)) is None:
            await self._store.create(collection, schema(width, stored_width(info.d_model)))
            await self._store.upsert(collection, [info.point()])
            known = await self.find(collection)
            assert known is not None
        return known

    async def note(self, collection: str, arrived: Iterable[int], created: int) -> int:
        """Takes note that features were stored, `created` of them new; returns the next index."""
        filling = self._known[collection]
        filling.used = time.monotonic()
        filling.stored += created
        indices = set(arrived)
        while filling.next_index in indices:
            filling.next_index += 1
        if filling.stored > filling.next_index:  # some came out of order, perhaps up to here
            found = await self._contiguous(collection, filling.next_index, filling.stored)
            filling.next_index = max(found, filling.next_index)
        return filling.next_index

    def forget(self, collection: str) -> None:
        """The collection is shown by now, or gone."""
        self._known.pop(collection, None)

    def is_idle(self, collection: str) -> bool:
        """Whether nothing in this process has been writing to it lately."""
        filling = self._known.get(collection)
        return filling is None or time.monotonic() - filling.used > IDLE_SECONDS

    async def stored(self, collection: str) -> int:
        """How many features there are."""
        return await self._store.count(collection, PointFilter(at_least={INDEX: 0}))

    async def first_missing(self, collection: str) -> int:
        """The lowest index of which there is no feature."""
        return await self._contiguous(collection, 0, await self.stored(collection))

    async def _contiguous(self, collection: str, low: int, high: int) -> int:
        """How many features there are without a gap, from the first on; it is known to be within these limits."""
        while low < high:
            middle = (low + high + 1) // 2
            below = PointFilter(at_least={INDEX: 0}, at_most={INDEX: middle - 1})
            if await self._store.count(collection, below) == middle:
                low = middle
            else:
                high = middle - 1
        return low

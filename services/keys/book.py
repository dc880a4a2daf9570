"""The keys with all that is known of them, for who looks after them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from services.database.database import Database
from services.database.settings import DatabaseSettings
from services.keys.database.schema import MIGRATIONS
from services.keys.key import Key
from services.keys.keyring import Keyring
from services.keys.settings import KeysSettings
from services.keys.usage import Usage


@dataclass(frozen=True, slots=True)
class KeyBook:
    """Keys and their usage."""

    keyring: Keyring
    usage: Usage

    async def all(self) -> Sequence[tuple[Key, int]]:
        """All keys, oldest first, each with the tokens that it has used today. Raises DependencyUnavailable."""
        used = await self.usage.all_today()
        return [(key, used.get(key.id, 0)) for key in await self.keyring.all()]


@asynccontextmanager
async def opened(settings: KeysSettings) -> AsyncIterator[KeyBook]:
    """The book of a database, whose tables are made where they are missing.

    Raises UnusableDatabase, DependencyUnavailable.
    """
    database = Database(DatabaseSettings(settings.sql, threads=1))
    try:
        await database.upgrade(MIGRATIONS)
        yield KeyBook(Keyring(database), Usage(database))
    finally:
        await database.close()

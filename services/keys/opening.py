"""Opens what asks callers for their keys, by the settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from services.database.settings import DatabaseSettings
from services.keys.settings import AccessSettings

if TYPE_CHECKING:
    from services.keys.access import Access


@asynccontextmanager
async def opened(settings: AccessSettings) -> AsyncIterator[Access | None]:
    """Who may call; None where everybody may. Raises UnusableDatabase."""
    if not settings.asks:
        yield None
        return
    # Here: a process that asks nobody, as on one machine, starts a second earlier without the database's library.
    from services.database.database import Database
    from services.keys.access import Access, Doors

    if not settings.database_url:
        yield Access(settings.trusted, None)
        return
    database = Database(DatabaseSettings(settings.database_url, threads=4))
    try:
        yield Access(settings.trusted, Doors(database, settings.seconds))
    finally:
        await database.close()

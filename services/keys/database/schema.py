"""The schema of keys, for `Database.upgrade`."""

from __future__ import annotations

from pathlib import Path

from services.database.migrations import Migrations
from services.keys.database.tables import Base

MIGRATIONS = Migrations(
    folder=Path(__file__).parent / "migrations",
    version_table="api_keys_schema_version",
    tables=Base.metadata,
)

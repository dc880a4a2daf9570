"""The schema of auto-steer, for `Database.upgrade`."""

from __future__ import annotations

from pathlib import Path

from services.autosteer.database.tables import Base
from services.database.migrations import Migrations

MIGRATIONS = Migrations(
    folder=Path(__file__).parent / "migrations",
    version_table="autosteer_schema_version",
    tables=Base.metadata,
)

"""The schema of the features service, for `Database.upgrade`."""

from __future__ import annotations

from pathlib import Path

from services.database.migrations import Migrations
from services.features.database.tables import Base

MIGRATIONS = Migrations(
    folder=Path(__file__).parent / "migrations",
    version_table="features_schema_version",
    tables=Base.metadata,
)

"""Where the keys are: the gateway and `hearth keys` read the same variables."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.database.settings import sqlite_url


def default_data_dir() -> Path:
    """`$XDG_DATA_HOME/hearth/gateway` or `~/.local/share/hearth/gateway`."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "hearth/gateway"


class KeysSettings(BaseSettings):
    """Each field is an environment variable: HEARTH_GATEWAY_DATA_DIR, HEARTH_GATEWAY_DATABASE_URL."""

    model_config = SettingsConfigDict(env_prefix="HEARTH_GATEWAY_", frozen=True)

    data_dir: Path = Field(default_factory=default_data_dir)
    """Where the SQLite file of keys and their usage lies."""
    database_url: str = ""
    """`sqlite:////absolute/file` or `postgresql+psycopg://user:password@host/name`; empty: a file in `data_dir`."""

    @property
    def sql(self) -> str:
        """The database's URL."""
        return self.database_url or sqlite_url(self.data_dir / "keys.db")


class AccessSettings(BaseSettings):
    """Each field is an environment variable that all gRPC processes read: HEARTH_KEYS_DATABASE_URL ..."""

    model_config = SettingsConfigDict(env_prefix="HEARTH_KEYS_", frozen=True, env_ignore_empty=True)

    database_url: str = ""
    """The gateway's database of keys; set, whoever calls needs a key of it, but for those that are trusted."""
    trusted: frozenset[str] = frozenset()
    """Names of certificates whose callers are believed on whose behalf they call, as JSON: ["gateway", "autosteer"];
    `loopback` stands for this machine. Set without a database, they alone may call."""
    seconds: float = Field(default=2.0, ge=0)
    """How long a key that was looked up is trusted; so long after its revocation it may still work."""

    @property
    def asks(self) -> bool:
        """Whether callers must prove who they are."""
        return bool(self.database_url or self.trusted)

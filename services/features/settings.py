"""The settings of the features process; nothing else in it reads the environment."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.database.settings import sqlite_url
from services.keys.settings import AccessSettings
from services.rpc.tls import TlsSettings


def default_data_dir() -> Path:
    """`$XDG_DATA_HOME/hearth/features` or `~/.local/share/hearth/features`.

    Not in Hearth's cache, all of which may be deleted at any time: here lies what people called features, and their
    saved variants.
    """
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "hearth/features"


class FeaturesSettings(BaseSettings):
    """Each field is an environment variable: HEARTH_FEATURES_PORT, HEARTH_FEATURES_QDRANT_URL ..."""

    model_config = SettingsConfigDict(env_prefix="HEARTH_FEATURES_", frozen=True)

    host: str = "127.0.0.1"
    """The interface to listen on; 0.0.0.0 for all."""
    port: int = Field(default=50052, ge=0, le=65535)
    """The port; 0 takes a free one."""
    data_dir: Path = Field(default_factory=default_data_dir)
    """Where the embedded vector store and the SQLite file lie; one process at a time uses it."""
    qdrant_url: str = ""
    """A Qdrant server or cluster, such as http://qdrant:6334; empty takes the embedded engine in `data_dir`."""
    qdrant_api_key: SecretStr = SecretStr("")
    """The key of that server, if it asks for one."""
    database_url: str = ""
    """`sqlite:////absolute/file` or `postgresql+psycopg://user:password@host/name`; empty: a file in `data_dir`."""
    encoder: Path | None = None
    """A folder that sentence-transformers reads; unset takes all-MiniLM-L6-v2, which is fetched once."""
    threads: int = Field(default=1, ge=1)
    """Threads of the encoder."""
    drain_seconds: float = Field(default=10.0, ge=0)
    """How long calls may go on after SIGTERM."""
    max_call_seconds: float = Field(default=300.0, gt=0)
    """The longest that a call may take, whatever deadline it asks for; writing and showing an import takes longest."""
    watch_seconds: float = Field(default=2.0, gt=0)
    """How often vector store and database are asked whether they answer."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""
    tls: TlsSettings = Field(default_factory=TlsSettings)
    """HEARTH_TLS_*, which all processes read: see services/rpc/tls.py."""
    access: AccessSettings = Field(default_factory=AccessSettings)
    """HEARTH_KEYS_*, which all gRPC processes read: see services/keys/settings.py."""

    @property
    def sql(self) -> str:
        """The database's URL."""
        return self.database_url or sqlite_url(self.data_dir / "features.db")

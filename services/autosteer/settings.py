"""The settings of the auto-steer server and of its workers; nothing else in them reads the environment."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Self

from pydantic import AliasChoices, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.database.settings import sqlite_url
from services.keys.settings import AccessSettings
from services.rpc.tls import TlsSettings

_LONGEST_SOCKET = 100
"""Bytes that the path of a unix socket may have; systems allow 103 and more."""


def default_data_dir() -> Path:
    """`$XDG_DATA_HOME/hearth/autosteer` or `~/.local/share/hearth/autosteer`."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "hearth/autosteer"


class AutoSteerSettings(BaseSettings):
    """Each field is an environment variable: HEARTH_AUTOSTEER_PORT, HEARTH_AUTOSTEER_DATABASE_URL ..."""

    model_config = SettingsConfigDict(env_prefix="HEARTH_AUTOSTEER_", frozen=True, populate_by_name=True)

    host: str = "127.0.0.1"
    """The interface that the server listens on; 0.0.0.0 for all."""
    port: int = Field(default=50053, ge=0, le=65535)
    """The server's port; 0 takes a free one."""
    data_dir: Path = Field(default_factory=default_data_dir)
    """Where the SQLite file and the embedded broker's files lie."""
    database_url: str = ""
    """`sqlite:////absolute/file` or `postgresql+psycopg://user:password@host/name`; empty: a file in `data_dir`."""
    redis_url: SecretStr = Field(
        default=SecretStr(""), validation_alias=AliasChoices("HEARTH_AUTOSTEER_REDIS_URL", "REDIS_URL")
    )
    """Redis or Valkey, such as redis://redis:6379/0; REDIS_URL says it too. Empty: that of `hearth up`."""
    inference: str = "localhost:50051"
    """Where the inference service listens."""
    inference_by_model: dict[str, str] = Field(default_factory=dict)
    """Where it listens for models that have servers of their own, as JSON: {"Qwen/Qwen3-8B": "dns:///qwen:50051"}."""
    features: str = "localhost:50052"
    """Where the features process listens."""
    encoder: Path | None = None
    """A folder that sentence-transformers reads, for the offline judge; unset takes all-MiniLM-L6-v2."""
    threads: int = Field(default=1, ge=1)
    """Threads of the encoder."""
    judge_key: SecretStr = SecretStr("")
    """Bearer token for endpoints that judge, if they ask for one. All of `judge_endpoints` get it."""
    judge_endpoints: list[str] | None = None
    """Where jobs may have texts judged: beginnings of URLs, as JSON: ["https://judge.example/v1/"]. Unset, anywhere:
    then whoever makes jobs can send requests from here, to inner addresses too."""
    concurrency: int = Field(default=2, ge=1, le=64)
    """Jobs that a worker runs at once. A budget is kept in seconds, so they should not have to share an engine that one
    of them fills: two suit a CPU (while the quick one runs, the other stands aside), a GPU takes more."""
    reserved_for_quick: int = Field(default=1, ge=0)
    """Places of these that only quick jobs take; at least one place takes all."""
    quick_at_once: int = Field(default=1, ge=1)
    """Quick jobs that a worker runs at once."""
    lease_seconds: float = Field(default=15.0, ge=1)
    """After how long a job is taken from a worker that is not heard of."""
    reconcile_seconds: float = Field(default=2.0, gt=0)
    """How often workers look for jobs that nobody works on."""
    max_queued: int = Field(default=1000, ge=1)
    """Jobs that may wait in all."""
    max_queued_per_owner: int = Field(default=100, ge=1)
    """Jobs of one owner that may wait."""
    poll_seconds: float = Field(default=0.25, gt=0)
    """How often a watcher's server looks for new events, and a worker whether its jobs were cancelled."""
    drain_seconds: float = Field(default=10.0, ge=0)
    """How long calls may go on after SIGTERM."""
    max_call_seconds: float = Field(default=600.0, gt=0)
    """The longest that a call may take; a watcher then calls again."""
    watch_seconds: float = Field(default=2.0, gt=0)
    """How often the database is asked whether it answers."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""
    tls: TlsSettings = Field(default_factory=TlsSettings)
    """HEARTH_TLS_*, which all processes read: see services/rpc/tls.py."""
    access: AccessSettings = Field(default_factory=AccessSettings)
    """HEARTH_KEYS_*, which all gRPC processes read: see services/keys/settings.py."""

    @model_validator(mode="after")
    def _key_for_whom(self) -> Self:
        if self.judge_key.get_secret_value() and self.judge_endpoints is None:
            raise ValueError(
                "HEARTH_AUTOSTEER_JUDGE_KEY needs HEARTH_AUTOSTEER_JUDGE_ENDPOINTS: who may get it"
            )
        return self

    @property
    def sql(self) -> str:
        """The database's URL."""
        return self.database_url or sqlite_url(self.data_dir / "autosteer.db")

    @property
    def socket(self) -> Path:
        """Where the embedded broker listens: in `data_dir`, unless its path is too long for a socket."""
        path = self.data_dir.absolute() / "broker.sock"
        if len(os.fsencode(path)) <= _LONGEST_SOCKET:
            return path
        name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"hearth-{os.getuid()}-{name}.sock"

    @property
    def broker(self) -> str:
        """The broker's URL, as redis-py reads it."""
        return self.redis_url.get_secret_value() or f"unix://{self.socket}"

    @property
    def for_all(self) -> int:
        """Jobs that are not quick that a worker runs at once."""
        return max(1, self.concurrency - self.reserved_for_quick)

    @property
    def for_quick(self) -> int:
        """Quick jobs that a worker runs at once."""
        return min(self.concurrency, self.quick_at_once)

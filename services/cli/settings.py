"""The settings of `hearth` as a client; its options are beside its commands."""

from __future__ import annotations

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.rpc.tls import TlsSettings


class ClientSettings(BaseSettings):
    """Each field is an environment variable: HEARTH_KEY."""

    model_config = SettingsConfigDict(env_prefix="HEARTH_", frozen=True, env_ignore_empty=True)

    key: SecretStr = SecretStr("")
    """A key that `hearth keys create` has made, for servers that ask for one. Without TLS it can be read on its way."""
    tls: TlsSettings = Field(default_factory=TlsSettings)
    """HEARTH_TLS_*, which all processes read: see services/rpc/tls.py."""

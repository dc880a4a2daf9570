"""The settings of the gateway; nothing else in it reads the environment."""

from __future__ import annotations

import ipaddress

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.keys.settings import KeysSettings
from services.rpc.tls import TlsSettings


class GatewaySettings(KeysSettings):
    """Each field is an environment variable: HEARTH_GATEWAY_PORT, HEARTH_GATEWAY_CORS_ORIGINS ..."""

    model_config = SettingsConfigDict(env_prefix="HEARTH_GATEWAY_", frozen=True)

    host: str = "127.0.0.1"
    """The interface to listen on; 0.0.0.0 for all."""
    port: int = Field(default=8080, ge=0, le=65535)
    """The port; 0 takes a free one."""
    inference: str = "localhost:50051"
    """Where the inference service listens."""
    inference_by_model: dict[str, str] = Field(default_factory=dict)
    """Where it listens for models that have servers of their own, as JSON: {"Qwen/Qwen3-8B": "dns:///qwen:50051"}."""
    features: str = "localhost:50052"
    """Where the features process listens."""
    autosteer: str = "localhost:50053"
    """Where the auto-steer server listens."""
    dev_key: bool = True
    """Whether the key `dev` opens everything, without quotas, while the gateway listens on loopback alone."""
    model_aliases: dict[str, str] = Field(default_factory=dict)
    """Other names of served models, as JSON: {"meta-llama/Llama-3.3-70B-Instruct": "smollm2-135m-instruct"}."""
    models_seconds: float = Field(default=2.0, ge=0)
    """How long the list of served models is kept before inference is asked again."""
    key_seconds: float = Field(default=2.0, ge=0)
    """How long a key that was looked up is trusted; so long after its revocation it may still work."""
    cors_origins: list[str] = Field(default_factory=list)
    """Origins whose pages may call the gateway from a browser, as JSON: ["https://notes.example"]. None unless set."""
    max_body_bytes: int = Field(default=8 << 20, ge=1)
    """The largest body of a request."""
    body_seconds: float = Field(default=30.0, gt=0)
    """How long a request's body may take to arrive."""
    max_request_seconds: float = Field(default=660.0, gt=0)
    """The longest that a request may take, its answer's last byte included; the services end theirs earlier."""
    keep_alive_seconds: float = Field(default=15.0, gt=0)
    """How often a stream that has nothing to say sends a comment, where its client's SDK bears comments."""
    drain_seconds: float = Field(default=10.0, ge=0)
    """How long requests may go on after SIGTERM."""
    watch_seconds: float = Field(default=2.0, gt=0)
    """How often the database of keys is asked whether it answers."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""
    tls: TlsSettings = Field(default_factory=TlsSettings)
    """HEARTH_TLS_*, which all processes read, for calls to the services: see services/rpc/tls.py."""

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the gateway."""
        host = self.host.strip("[]")
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    @property
    def accepts_dev_key(self) -> bool:
        """Whether the key `dev` is accepted."""
        return self.dev_key and self.on_loopback

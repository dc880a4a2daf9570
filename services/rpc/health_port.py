"""Health on a port of its own: for probes, which have no certificate, and for processes that answer nothing else."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

LIVENESS = "liveness"
"""A name that health checks may ask for: SERVING while the process answers at all, whatever it depends on. A process
that is started again because its database is away would only be away longer."""


class HealthSettings(BaseSettings):
    """Each field is an environment variable that all gRPC processes read: HEARTH_HEALTH_PORT, HEARTH_HEALTH_HOST."""

    model_config = SettingsConfigDict(env_prefix="HEARTH_", frozen=True, env_ignore_empty=True)

    health_host: str = "127.0.0.1"
    """The interface that the health port listens on; 0.0.0.0 for all."""
    health_port: int | None = Field(default=None, ge=0, le=65535)
    """A port that answers health checks alone, without TLS; 0 takes a free one, unset has none."""


class HealthPort:
    """A server of health checks and nothing else."""

    def __init__(self, server: grpc.aio.Server, port: int) -> None:
        self._server = server
        self.port = port
        """The port it listens on."""

    async def close(self) -> None:
        """Stops answering."""
        await self._server.stop(None)


async def open_health_port(
    servicer: health.aio.HealthServicer, settings: HealthSettings
) -> HealthPort | None:
    """Answers what `servicer` says; None where the settings name no port. Exits with a message where it is taken."""
    if settings.health_port is None:
        return None
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    address = f"{settings.health_host}:{settings.health_port}"
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:
        raise SystemExit(
            f"Cannot answer health checks on {address}. Choose another port with HEARTH_HEALTH_PORT."
        ) from None
    await server.start()
    return HealthPort(server, port)


async def alive(servicer: health.aio.HealthServicer) -> None:
    """Says that the process lives."""
    await servicer.set(LIVENESS, health_pb2.HealthCheckResponse.SERVING)

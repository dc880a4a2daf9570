"""Health on a port of its own: for probes, which have no certificate, and for processes that answer nothing else."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.rpc.listening import NO_SHARING, listen

LIVENESS = "liveness"
"""A name that health checks may ask for: SERVING while the process answers at all, whatever it depends on. A process
that is started again because its database is away would only be away longer."""


class HealthSettings(BaseSettings):
    """Each field is an environment variable that all gRPC processes read: HEARTH_HEALTH_PORT, HEARTH_HEALTH_HOST ..."""

    model_config = SettingsConfigDict(env_prefix="HEARTH_", frozen=True, env_ignore_empty=True)

    health_host: str = "127.0.0.1"
    """The interface that the health port listens on; 0.0.0.0 for all."""
    health_port: int | None = Field(default=None, ge=0, le=65535)
    """A port that answers health checks alone, without TLS; 0 takes a free one, unset has none."""
    leave_seconds: float = Field(default=0.0, ge=0)
    """How long a process that is told to end still takes calls, though its health says NOT_SERVING: as long as those
    who balance between several need to notice. Nobody is refused then. Of use where there are several."""


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
    server = grpc.aio.server(options=[NO_SHARING])
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = listen(server, settings.health_host, settings.health_port, "HEARTH_HEALTH_PORT")
    await server.start()
    return HealthPort(server, port)


async def alive(servicer: health.aio.HealthServicer) -> None:
    """Says that the process lives."""
    await servicer.set(LIVENESS, health_pb2.HealthCheckResponse.SERVING)


class OwnHealth:
    """The health of a process that serves nothing else, on the health port alone."""

    def __init__(self, settings: HealthSettings | None = None) -> None:
        self._settings = settings or HealthSettings()
        self._servicer = health.aio.HealthServicer()
        self.port: HealthPort | None = None

    async def open(self) -> None:
        """Lives, and does not serve yet. Raises OSError where it cannot listen."""
        await self.serve(False)
        await alive(self._servicer)
        try:
            self.port = await open_health_port(self._servicer, self._settings)
        except SystemExit as problem:  # which in another thread than the main one would end nothing but it
            raise OSError(str(problem)) from None

    async def serve(self, serving: bool) -> None:
        """Says whether it serves."""
        status = health_pb2.HealthCheckResponse
        await self._servicer.set("", status.SERVING if serving else status.NOT_SERVING)

    async def close(self) -> None:
        """Stops answering."""
        if self.port is not None:
            await self.port.close()

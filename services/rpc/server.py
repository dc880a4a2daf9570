"""How every process of Hearth serves gRPC: health, reflection, message limits, keepalive, errors, drain."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.rpc.access import AccessInterceptor, Authenticator
from services.rpc.calls import Deadlines
from services.rpc.health_port import HealthPort, HealthSettings, alive, open_health_port
from services.rpc.interceptors import CallInterceptor
from services.rpc.listening import NO_SHARING, listen
from services.rpc.logs import structured
from services.rpc.tls import TlsSettings

log = logging.getLogger("hearth.rpc")

Registration = Callable[[grpc.aio.Server], None]
"""Adds one servicer: `lambda server: add_InferenceServiceServicer_to_server(servicer, server)`."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_FLUSH_SECONDS = 1.0
"""How long the last answers may take to leave, once every handler is done."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How a process serves."""

    host: str = "127.0.0.1"
    """The interface to listen on; `[::]` or `0.0.0.0` for all."""
    port: int = 0
    """The port; 0 takes a free one."""
    port_option: str = "--port"
    """The option that changes the port, named where it is taken."""
    drain_seconds: float = 30.0
    """How long calls may go on after the first SIGTERM or SIGINT, and after `leave_seconds`."""
    leave_seconds: float = field(default_factory=lambda: HealthSettings().leave_seconds)
    """How long it still takes calls then, though health says NOT_SERVING: until those who balance have noticed."""
    max_message_bytes: int = 4 << 20
    """Largest request that is accepted; gRPC's own default, which the API keeps to."""
    deadlines: Deadlines = field(default_factory=Deadlines)
    """How long calls may run."""
    tls: TlsSettings | None = None
    """What it shows and whom it trusts; without a certificate, it does not speak TLS."""


class RunningServer:
    """A server that has started; made by `serve`."""

    def __init__(
        self,
        server: grpc.aio.Server,
        calls: CallInterceptor,
        health_servicer: health.aio.HealthServicer,
        settings: ServerSettings,
        port: int,
    ) -> None:
        self.port = port
        """The port it listens on."""
        self._server = server
        self._calls = calls
        self._health = health_servicer
        self._settings = settings
        self._hurry = asyncio.Event()
        self._drained: asyncio.Task[None] | None = None
        self.health_port: HealthPort | None = None
        """Where health is asked without TLS, if anywhere."""

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{self._settings.host}:{self.port}"

    async def set_serving(self, service: str, serving: bool) -> None:
        """Tells health checks whether a service can answer; the empty name is the server as a whole."""
        await self._health.set(service, _health_status(serving))

    async def stopped(self) -> None:
        """Returns when the server has drained, after a signal or `drain`."""
        await self._server.wait_for_termination()
        if self._drained is not None:
            await self._drained

    async def drain(self) -> None:
        """Health turns NOT_SERVING; after `leave_seconds` new calls are refused, running ones get `drain_seconds`."""
        self.begin_drain()
        assert self._drained is not None
        await asyncio.shield(self._drained)

    def begin_drain(self) -> None:
        """Starts to drain; the second time, stops at once."""
        if self._drained is None:
            self._drained = asyncio.get_running_loop().create_task(self._drain())
        else:
            self._hurry.set()

    def handle_signals(self) -> None:
        """SIGTERM and SIGINT drain, a second one stops at once, a third one has its usual effect."""
        loop = asyncio.get_running_loop()

        def handle() -> None:
            if self._drained is not None:
                for number in _SIGNALS:
                    loop.remove_signal_handler(number)
            self.begin_drain()

        for number in _SIGNALS:
            loop.add_signal_handler(number, handle)

    async def _drain(self) -> None:
        await self._health.enter_graceful_shutdown()
        hurry = asyncio.create_task(self._hurry.wait())
        await asyncio.wait({hurry}, timeout=self._settings.leave_seconds)
        self._calls.refuse()
        log.info(
            "draining", extra=structured(calls=self._calls.running, seconds=self._settings.drain_seconds)
        )
        idle = asyncio.create_task(self._calls.idle())
        try:
            await asyncio.wait(
                {idle, hurry}, timeout=self._settings.drain_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if not idle.done():
                log.warning("ending calls that still run", extra=structured(calls=self._calls.running))
                self._calls.stop_running()
                await asyncio.wait({idle}, timeout=_FLUSH_SECONDS)
        finally:
            idle.cancel()
            hurry.cancel()
        await self._server.stop(_FLUSH_SECONDS)
        if self.health_port is not None:
            await self.health_port.close()
        log.info("stopped")


async def serve(
    services: Mapping[str, Registration],
    settings: ServerSettings | None = None,
    *,
    serving: bool = True,
    handle_signals: bool = True,
    authenticator: Authenticator | None = None,
) -> RunningServer:
    """Starts a server for `services`, given by full name (`hearth.v1.InferenceService`).

    Without an authenticator, whoever reaches it may call, on whosever behalf they say.
    With `serving` False, health checks answer NOT_SERVING until `set_serving`: for a process that still loads. With
    `handle_signals`, SIGTERM and SIGINT drain it, and a second one stops it at once. Exits with a message where it
    cannot listen.
    """
    settings = settings or ServerSettings()
    calls = CallInterceptor(settings.deadlines)
    access = [AccessInterceptor(authenticator)] if authenticator is not None else []
    server = grpc.aio.server(interceptors=[calls, *access], options=_options(settings))
    health_servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    for register in services.values():
        register(server)
    reflection.enable_server_reflection(
        [*services, health.SERVICE_NAME, reflection.SERVICE_NAME],
        server,
    )
    port = listen(server, settings.host, settings.port, settings.port_option, settings.tls)
    running = RunningServer(server, calls, health_servicer, settings, port)
    for name in ("", *services):
        await running.set_serving(name, serving)
    await alive(health_servicer)
    await server.start()
    running.health_port = await open_health_port(health_servicer, HealthSettings())
    if handle_signals:
        running.handle_signals()
    log.info("listening", extra=structured(address=running.address, services=list(services)))
    return running


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    return [
        NO_SHARING,
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        (
            "grpc.http2.min_ping_interval_without_data_ms",
            10_000,
        ),  # default 5 minutes, then GOAWAY too_many_pings
    ]


def _health_status(serving: bool) -> health_pb2.HealthCheckResponse.ServingStatus:
    return health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING

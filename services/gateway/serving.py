"""Runs the app until it is told to end; then it drains."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from services.gateway.settings import GatewaySettings
from services.rpc.logs import structured

log = logging.getLogger("hearth.gateway")
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Server(uvicorn.Server):
    """Uvicorn, but that it returns after a signal instead of ending the process by it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT drain; a second SIGINT stops at once."""
        if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
            yield
            return
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)


def listen(settings: GatewaySettings) -> socket.socket:
    """A socket of the gateway's address. Exits with a message where it cannot listen."""
    host = settings.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, settings.port), family=family, backlog=2048)
    except OSError as problem:
        if problem.errno == errno.EADDRINUSE:
            raise SystemExit(
                f"Port {settings.port} is taken by another program, perhaps a Hearth that already runs. "
                "Stop it, or choose another port with HEARTH_GATEWAY_PORT."
            ) from None
        raise SystemExit(
            f"Cannot listen on {settings.host}, port {settings.port}: {problem.strerror or problem}."
        ) from None


def server_of(app: ASGIApp, settings: GatewaySettings) -> Server:
    """A server of the app, to be run by `serve(sockets=[...])`."""
    return Server(
        uvicorn.Config(
            app,
            http="h11",  # not what happens to be installed; httptools and uvloop were no faster here
            access_log=False,  # the app writes its own line, without queries
            lifespan="off",
            log_config=None,
            log_level="warning",
            proxy_headers=False,  # nobody's word is taken for where a request comes from
            server_header=False,
            timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
            timeout_keep_alive=75,  # longer than the usual proxy keeps its connections to us
            ws="none",
        )
    )


def announce(settings: GatewaySettings, port: int) -> None:
    """Says where the gateway listens, and loudly where everybody on this machine may use it."""
    log.info("listening", extra=structured(address=f"{settings.host}:{port}"))
    if settings.accepts_dev_key:
        log.warning(
            "THE KEY `dev` OPENS EVERYTHING to every program of this machine; "
            "HEARTH_GATEWAY_DEV_KEY=false forbids it"
        )
    elif settings.dev_key:
        log.info("the key `dev` is not accepted, because other machines can reach the gateway")

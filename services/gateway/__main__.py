"""The gateway: `python -m services.gateway`, configured by HEARTH_GATEWAY_* (see settings.py)."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import AsyncExitStack
from functools import partial

from services.database.database import Database
from services.database.settings import DatabaseSettings, UnusableDatabase
from services.gateway.app import create_app
from services.gateway.clients.models import served_models
from services.gateway.clients.services import connect
from services.gateway.gateway import Gateway
from services.gateway.models import Models
from services.gateway.serving import announce, listen, server_of
from services.gateway.settings import GatewaySettings
from services.keys.database.schema import MIGRATIONS
from services.keys.gatekeeper import Gatekeeper
from services.keys.keyring import Keyring
from services.keys.usage import Usage
from services.rpc.logs import configure
from services.rpc.watch import Watch


async def main(settings: GatewaySettings) -> int:
    """Listens; /readyz answers 503 until all that it needs is there. Returns when it has drained."""
    try:
        async with AsyncExitStack() as stack:
            return await _run(settings, stack)
    except (UnusableDatabase, OSError) as problem:
        logging.getLogger(__name__).error("cannot serve: %s", problem)
        return 1


async def _run(settings: GatewaySettings, stack: AsyncExitStack) -> int:
    listening = stack.enter_context(listen(settings))
    database = Database(DatabaseSettings(settings.sql))
    stack.push_async_callback(database.close)
    services = connect(settings)
    stack.push_async_callback(services.close)

    async def prepare() -> None:
        await database.upgrade(MIGRATIONS)

    async def report(_: bool) -> None:
        """Whoever asks /readyz sees it."""

    watch = Watch((database.ping,), prepare, lambda: False, report, settings.watch_seconds)
    gateway = Gateway(
        services,
        Models(partial(served_models, services), settings.model_aliases, settings.models_seconds),
        Gatekeeper(
            Keyring(database),
            Usage(database),
            accepts_dev=settings.accepts_dev_key,
            seconds=settings.key_seconds,
        ),
        settings,
        lambda: watch.healthy,
    )
    server = server_of(create_app(gateway), settings)
    announce(settings, listening.getsockname()[1])
    watching = asyncio.create_task(watch.run())
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    await asyncio.wait({watching, serving}, return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        server.should_exit = True
        await serving
        await watching  # raises what ended it
    watching.cancel()
    return 0


if __name__ == "__main__":
    chosen = GatewaySettings()
    configure(chosen.log_level)
    sys.exit(asyncio.run(main(chosen)))

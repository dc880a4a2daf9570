"""The gateway: `python -m services.gateway`, configured by HEARTH_GATEWAY_* (see settings.py)."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
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
from services.rpc import telemetry
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


@asynccontextmanager
async def opened(
    settings: GatewaySettings, keys_serve: Callable[[], bool] = lambda: True
) -> AsyncIterator[tuple[Gateway, Database]]:
    """A gateway and its database, whose tables may be missing yet. Nothing connects before it is used."""
    database = Database(DatabaseSettings(settings.sql))
    services = connect(settings)
    gatekeeper = Gatekeeper(
        Keyring(database), Usage(database), accepts_dev=settings.accepts_dev_key, seconds=settings.key_seconds
    )
    models = Models(partial(served_models, services), settings.model_aliases, settings.models_seconds)
    try:
        yield Gateway(services, models, gatekeeper, settings, keys_serve), database
    finally:
        await services.close()
        await database.close()


async def _run(settings: GatewaySettings, stack: AsyncExitStack) -> int:
    listening = stack.enter_context(listen(settings))
    gateway, database = await stack.enter_async_context(opened(settings, lambda: watch.healthy))

    async def prepare() -> None:
        await database.upgrade(MIGRATIONS)

    async def report(_: bool) -> None:
        """Whoever asks /readyz sees it."""

    watch = Watch({"database": database.ping}, prepare, lambda: False, report, settings.watch_seconds)
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
    telemetry.start("gateway")
    sys.exit(asyncio.run(main(chosen)))

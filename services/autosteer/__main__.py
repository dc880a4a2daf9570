"""The auto-steer server: `python -m services.autosteer`, configured by HEARTH_AUTOSTEER_* (see settings.py)."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import AsyncExitStack

from hearth.v1 import autosteer_service_pb2
from hearth.v1.autosteer_service_pb2_grpc import add_AutoSteerServiceServicer_to_server
from services.autosteer.clients.connections import clients_of
from services.autosteer.creation import Creation
from services.autosteer.database.schema import MIGRATIONS
from services.autosteer.encoding import LazyEncoder
from services.autosteer.events import EventLog
from services.autosteer.jobs import BrokerWakeups, make_app
from services.autosteer.ledger import Ledger, QueueLimits
from services.autosteer.servicer import AutoSteerServicer
from services.autosteer.settings import AutoSteerSettings
from services.autosteer.standing import tell_queue
from services.autosteer.suggesting import Suggesting
from services.database.database import Database
from services.database.settings import DatabaseSettings, UnusableDatabase
from services.keys.opening import opened
from services.rpc import telemetry
from services.rpc.access import Authenticator
from services.rpc.calls import Deadlines
from services.rpc.logs import configure
from services.rpc.server import RunningServer, ServerSettings, serve
from services.rpc.watch import Watch

AUTOSTEER = autosteer_service_pb2.DESCRIPTOR.services_by_name["AutoSteerService"].full_name


async def main(settings: AutoSteerSettings) -> int:
    """Listens, NOT_SERVING until the database is there; returns when it has drained."""
    try:
        async with AsyncExitStack() as stack:
            return await _run(settings, stack)
    except (UnusableDatabase, OSError) as problem:
        logging.getLogger(__name__).error("cannot serve: %s", problem)
        return 1


async def _run(settings: AutoSteerSettings, stack: AsyncExitStack) -> int:
    database = Database(DatabaseSettings(settings.sql))
    stack.push_async_callback(database.close)
    inference_of, catalogue = await stack.enter_async_context(
        clients_of(settings.inference, settings.features, settings.tls, settings.inference_by_model)
    )
    wakeups = BrokerWakeups(make_app(settings.broker), settings.broker)
    ledger = Ledger(database, QueueLimits(settings.max_queued, settings.max_queued_per_owner))
    encoder = LazyEncoder(settings.encoder, settings.threads)
    servicer = AutoSteerServicer(
        Creation(ledger, inference_of, wakeups.try_to_send, settings.judge_endpoints),
        ledger,
        EventLog(database, settings.poll_seconds),
        Suggesting(inference_of, catalogue, encoder.get),
    )
    authenticator = await stack.enter_async_context(opened(settings.access))
    server = await _serve(settings, servicer, authenticator)

    async def prepare() -> None:
        await database.upgrade(MIGRATIONS)

    async def report(serving: bool) -> None:
        for name in ("", AUTOSTEER):
            await server.set_serving(name, serving)

    watch = Watch({"database": database.ping}, prepare, lambda: False, report, settings.watch_seconds)
    watching = asyncio.create_task(watch.run())
    counting = asyncio.create_task(tell_queue(database, settings.watch_seconds, lambda: watch.healthy))
    stopped = asyncio.create_task(server.stopped())
    await asyncio.wait({watching, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not stopped.done():
        await server.drain()
        await watching  # raises what ended it
    watching.cancel()
    counting.cancel()
    return 0


async def _serve(
    settings: AutoSteerSettings, servicer: AutoSteerServicer, authenticator: Authenticator | None
) -> RunningServer:
    return await serve(
        {AUTOSTEER: lambda s: add_AutoSteerServiceServicer_to_server(servicer, s)},
        ServerSettings(
            host=settings.host,
            port=settings.port,
            drain_seconds=settings.drain_seconds,
            deadlines=Deadlines(settings.max_call_seconds),
            tls=settings.tls,
        ),
        serving=False,
        authenticator=authenticator,
    )


if __name__ == "__main__":
    chosen = AutoSteerSettings()
    configure(chosen.log_level)
    telemetry.start("autosteer")
    sys.exit(asyncio.run(main(chosen)))

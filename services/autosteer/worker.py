"""A worker: `python -m services.autosteer.worker`, configured by HEARTH_AUTOSTEER_* (see settings.py).

Celery's threads wait for messages; the jobs themselves run on one event loop, which has all connections.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import warnings
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from celery import signals
from celery.exceptions import CPendingDeprecationWarning
from celery.platforms import SecurityWarning
from celery.worker.consumer import consumer as consuming
from celery.worker.consumer.consumer import CONNECTION_ERROR

from services.autosteer import metrics
from services.autosteer.clients.connections import clients_of
from services.autosteer.database.schema import MIGRATIONS
from services.autosteer.encoding import LazyEncoder
from services.autosteer.jobs import TASK, BrokerWakeups, make_app
from services.autosteer.leases import Leases
from services.autosteer.reconciler import Reconciler
from services.autosteer.running import Runner, pipeline_drive
from services.autosteer.settings import AutoSteerSettings
from services.database.database import Database
from services.database.settings import DatabaseSettings, UnusableDatabase
from services.errors import DependencyUnavailable
from services.rpc import telemetry
from services.rpc.health_port import OwnHealth
from services.rpc.logs import configure, structured
from services.rpc.metrics import serving

log = logging.getLogger("hearth.autosteer")
T = TypeVar("T")
TRY_AGAIN_SECONDS = 2.0
"""Between tries to reach the database at the start."""


class Worker:
    """What of a worker lives on the event loop."""

    def __init__(self, settings: AutoSteerSettings, wakeups: BrokerWakeups) -> None:
        self._settings, self._wakeups = settings, wakeups
        self._stack = AsyncExitStack()
        self._health = OwnHealth()
        self._runner: Runner | None = None
        self._background: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Connects, and begins to look for jobs that nobody works on. Raises UnusableDatabase, OSError."""
        settings = self._settings
        await self._health.open()
        self._stack.push_async_callback(self._health.close)
        database = Database(DatabaseSettings(settings.sql, threads=settings.concurrency + 4))
        self._stack.push_async_callback(database.close)
        await _upgraded(database)
        inference_of, catalogue = await self._stack.enter_async_context(
            clients_of(settings.inference, settings.features, settings.tls, settings.inference_by_model)
        )
        encoder = LazyEncoder(settings.encoder, settings.threads)
        leases = Leases(database, settings.lease_seconds)
        key = settings.judge_key.get_secret_value()
        self._runner = Runner(
            database,
            leases,
            pipeline_drive(inference_of, catalogue, encoder.get, key),
            quick_at_once=settings.for_quick,
            slow_at_once=settings.for_all,
            poll_seconds=settings.poll_seconds,
        )
        self._reconciler = Reconciler(database, self._wakeups, settings.reconcile_seconds)
        self._background = [
            asyncio.create_task(self._reconciler.run()),
            asyncio.create_task(self._reconciler.watch_broker()),
            asyncio.create_task(_loaded(encoder)),
        ]

    async def ready(self) -> None:
        """Says that it takes jobs, and ends well if it is told to."""
        await self._health.serve(True)

    async def work(self) -> None:
        """Answers one message: runs the job whose turn it is, and sees to it that the next one finds a worker."""
        assert self._runner is not None
        try:
            if await self._runner.one():
                await self._reconciler.wake()
        except DependencyUnavailable as error:  # the reconciler sends another message
            log.warning("jobs wait", extra=structured(problem=error.message))

    async def stop(self) -> None:
        """Gives the jobs that run back to the queue."""
        await self._health.serve(False)
        if self._runner is not None:
            self._runner.stop()

    async def close(self) -> None:
        """Closes all connections."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._stack.aclose()


class LoopThread:
    """An event loop in a thread of its own, for callers in other threads."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="jobs", daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns, run on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs `work` on the loop, without waiting for it."""
        asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        """Ends the loop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


async def _upgraded(database: Database) -> None:
    """Brings the tables up to date, however long the database takes to answer."""
    while True:
        try:
            return await database.upgrade(MIGRATIONS)
        except DependencyUnavailable as error:
            log.warning("waiting for the database", extra=structured(problem=error.message))
            await asyncio.sleep(TRY_AGAIN_SECONDS)


async def _loaded(encoder: LazyEncoder) -> None:
    """Loads the encoder ahead of the first job."""
    try:
        await encoder.get()
    except DependencyUnavailable as error:
        log.warning("no sentence encoder yet", extra=structured(problem=error.message))


def _as_outage(record: logging.LogRecord) -> bool:
    """A broker that is away is a warning, not an error as Celery has it: it comes back, and the jobs are in SQL."""
    if record.msg == CONNECTION_ERROR:
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


def main(settings: AutoSteerSettings) -> int:
    """Works until SIGTERM or SIGINT; then gives back what it has begun."""
    app = make_app(settings.broker)
    loop = LoopThread()
    worker = Worker(settings, BrokerWakeups(app, settings.broker))
    try:
        loop.call(worker.open())
    except (UnusableDatabase, OSError) as problem:
        log.error("cannot work: %s", problem)
        return 1

    @app.task(name=TASK)  # type: ignore[untyped-decorator]
    def work() -> None:
        loop.call(worker.work())

    def stop(**_: Any) -> None:
        loop.begin(worker.stop())

    def ready(**_: Any) -> None:
        loop.begin(worker.ready())

    signals.worker_ready.connect(ready, weak=False)
    signals.worker_shutting_down.connect(stop, weak=False)
    signals.task_prerun.connect(lambda **_: metrics.task_begins(), weak=False)
    signals.task_postrun.connect(lambda state=None, **_: metrics.task_ended(state), weak=False)
    signals.setup_logging.connect(lambda **_: None, weak=False)  # ours is configured already
    logging.getLogger("celery").setLevel(
        logging.WARNING
    )  # a message is worth no line; the jobs have their own
    logging.getLogger(consuming.__name__).addFilter(_as_outage)
    warnings.filterwarnings("ignore", category=SecurityWarning)  # it fears pickle, which is not accepted here
    warnings.filterwarnings(
        "ignore", category=CPendingDeprecationWarning
    )  # of a setting that is chosen in jobs.py
    consumer = app.Worker(
        pool="threads",
        concurrency=settings.concurrency,
        without_heartbeat=True,
        without_gossip=True,
        without_mingle=True,
        quiet=True,
    )
    log.info("working", extra=structured(concurrency=settings.concurrency))
    serving(True)
    consumer.start()
    loop.call(worker.close())
    loop.close()
    return int(consumer.exitcode or 0)


if __name__ == "__main__":
    chosen = AutoSteerSettings()
    configure(chosen.log_level)
    telemetry.start("worker")
    sys.exit(main(chosen))

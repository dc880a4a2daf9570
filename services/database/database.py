"""A database that coroutines use: each transaction runs as a plain function in a thread, never on the event loop."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.orm import Session

from services.database.connections import IMMEDIATE, make_engine
from services.database.failures import outage
from services.database.migrations import Migrations, upgrade
from services.database.settings import DatabaseSettings
from services.errors import DependencyUnavailable

log = logging.getLogger(__name__)

_T = TypeVar("_T")
Work = Callable[[Session], _T]
"""One transaction. It may run several times, so it changes nothing but the session, and looks before it writes."""
_ATTEMPTS = 12
"""How often a transaction is tried that others keep undoing; in every round one of them succeeds."""
_PAUSE = 0.005
"""Seconds; before attempt n there is a pause of up to n times this."""
_WHAT = "the database"


class Database:
    """SQLite or PostgreSQL; connects at first use, and again by itself after an outage.

    Every method raises DependencyUnavailable where the database does not answer in time. A write that ends so may have
    happened all the same (the connection can break while the commit is on its way): callers repeat it with the same
    request_id. What `write` returned is on the disk.
    """

    def __init__(self, settings: DatabaseSettings) -> None:
        """Raises UnusableDatabase where the URL is wrong."""
        self._settings = settings
        self._engine = make_engine(settings)
        self._writing = self._engine.execution_options(**{IMMEDIATE: True})
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="database")
        self._down = False

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._engine.dialect.name

    async def read(self, work: Work[_T]) -> _T:
        """What `work` returns, from one consistent transaction that changes nothing."""
        return await self._in_thread(lambda: self._repeated(self._engine, work, commits=False))

    async def write(self, work: Work[_T]) -> _T:
        """What `work` returns, once its changes are durable; nothing is changed where it raises.

        `work` runs again where another transaction came in between, a unique constraint that another writer satisfied
        first included: it must look for the other's row before it adds its own.
        """
        return await self._in_thread(lambda: self._repeated(self._writing, work, commits=True))

    async def ping(self) -> None:
        """Returns if the database answers."""
        question = "PRAGMA schema_version" if self.dialect == "sqlite" else "SELECT 1"
        await self.read(lambda session: session.execute(text(question)).scalar())

    async def upgrade(self, migrations: Migrations) -> None:
        """Brings a service's tables to what this release knows; when several processes start, one does it.

        Raises UnusableDatabase where a newer release has changed them, or the file is no database.
        """
        run = contextvars.copy_context().run
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, run, self._upgrade, migrations)

    async def close(self) -> None:
        """Closes the connections, after the transactions that still run."""
        await asyncio.to_thread(self._close)

    async def _in_thread(self, transaction: Callable[[], _T]) -> _T:
        run = contextvars.copy_context().run
        loop = asyncio.get_running_loop()
        # A transaction that has not begun when its caller gives up never does.
        try:
            async with asyncio.timeout(self._settings.answer_seconds) as waiting:
                return await loop.run_in_executor(self._threads, run, transaction)
        except TimeoutError as error:
            if not waiting.expired():
                raise
            problem = f"no answer within {self._settings.answer_seconds:g} s"
            self._note(problem)
            raise DependencyUnavailable(_WHAT, problem) from error

    def _repeated(self, engine: Engine, work: Work[_T], *, commits: bool) -> _T:
        for attempt in range(1, _ATTEMPTS + 1):
            committing = False
            if attempt > 1:
                time.sleep(random.uniform(0, _PAUSE * attempt))
            try:
                with Session(engine, expire_on_commit=False) as session:
                    answer = work(session)
                    if commits:
                        session.flush()
                        committing = True
                        session.commit()
                self._note(None)
                return answer
            except IntegrityError:
                if attempt == _ATTEMPTS:
                    raise
            except (DBAPIError, NoConnection) as error:
                self._refuse(error, again=attempt < _ATTEMPTS and not committing)
        raise AssertionError("the last attempt returns or raises")

    def _refuse(self, error: DBAPIError | NoConnection, *, again: bool) -> None:
        """Raises what the caller is to see; returns where the transaction should be tried once more."""
        found = outage(error)
        if found is None:
            raise error
        if not (again and found.passing):
            self._note(f"{found.problem}: {getattr(error, 'orig', error)}")
            raise DependencyUnavailable(_WHAT, found.problem) from error

    def _upgrade(self, migrations: Migrations) -> None:
        try:
            upgrade(self._writing, migrations, self._settings)
        except DBAPIError as error:
            self._refuse(error, again=False)

    def _note(self, problem: str | None) -> None:
        """Logs when an outage begins and when it ends, not every call in it."""
        if problem is not None and not self._down:
            log.warning("the database does not answer: %s", problem.strip())
        elif problem is None and self._down:
            log.info("the database answers again")
        self._down = problem is not None

    def _close(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        self._engine.dispose()

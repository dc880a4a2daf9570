"""One worker's jobs: takes each whose turn it is, runs the pipeline under its lease, and says what became of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext, suppress

from services.autosteer import metrics
from services.autosteer.checkpoints import Kept
from services.autosteer.job import Cancelled
from services.autosteer.judges.gold import Agreements
from services.autosteer.leases import Lease, LeaseLost, Leases
from services.autosteer.pipeline import run
from services.autosteer.record import Failure
from services.autosteer.right_of_way import RightOfWay, StandingAside
from services.autosteer.spec import Result, Tier
from services.autosteer.upstream import FeatureCatalogue, Inference
from services.database.database import Database
from services.errors import DependencyUnavailable, HearthError
from services.rpc import traces
from services.rpc.logs import structured

log = logging.getLogger("hearth.autosteer")
RENEWALS = 4.0
"""How often a lease is renewed within its length."""

Drive = Callable[[Lease, Kept, asyncio.Event], Awaitable[Result]]
"""Runs a job to its result, as pipeline.run does."""


class Runner:
    """Runs jobs on the event loop; so many quick ones at once, and so many that are not."""

    def __init__(
        self,
        database: Database,
        leases: Leases,
        drive: Drive,
        *,
        quick_at_once: int,
        slow_at_once: int,
        poll_seconds: float,
    ) -> None:
        self._database, self._leases, self._drive = database, leases, drive
        self._most = {True: quick_at_once, False: slow_at_once}
        self._running = {True: 0, False: 0}
        self._poll = poll_seconds
        self._stopping = asyncio.Event()
        self._claiming = asyncio.Lock()

    def stop(self) -> None:
        """Jobs that run are given back to the queue."""
        self._stopping.set()

    async def one(self) -> bool:
        """Runs the job whose turn it is to its end; False where there is none. Raises DependencyUnavailable."""
        async with self._claiming:  # so that two claims do not both take the last place
            if self._stopping.is_set():
                return False
            free = {quick: self._running[quick] < most for quick, most in self._most.items()}
            lease = (
                await self._leases.claim(quick=free[True], slow=free[False]) if any(free.values()) else None
            )
            if lease is None:
                return False
            is_quick = lease.spec.budget.tier is Tier.QUICK
            self._running[is_quick] += 1
        try:
            with _span(lease):
                await self._run(lease)
        finally:
            self._running[is_quick] -= 1
        return True

    async def _run(self, lease: Lease) -> None:
        about = structured(job=lease.job_id, model=lease.spec.model, attempt=lease.attempt)
        log.info("a job begins", extra=about)
        stop, unanswered = asyncio.Event(), asyncio.Event()
        holding = asyncio.create_task(self._hold(lease, stop, unanswered))
        try:
            with metrics.turn():
                outcome = await self._outcome(lease, stop)
            metrics.outcome(outcome)
        except LeaseLost:
            metrics.outcome("lost")
            log.info("a job is over here: it was cancelled, or is another worker's", extra=about)
            if unanswered.is_set():
                await self._survive(lease)
        except DependencyUnavailable as error:
            metrics.outcome("left")
            log.warning("a job is left: the database does not answer", extra=about | {"problem": str(error)})
            await self._survive(lease)
        finally:
            holding.cancel()
            (ended,) = await asyncio.gather(holding, return_exceptions=True)
            if isinstance(ended, Exception):  # the job went on without it, as far as its lease reached
                log.error("a lease was not renewed any more", extra=about, exc_info=ended)

    async def _outcome(self, lease: Lease, stop: asyncio.Event) -> str:
        """Runs the job and says in the database what became of it; returns the same for the metrics."""
        about = structured(job=lease.job_id, model=lease.spec.model)
        kept = Kept(self._database, self._leases, lease)
        try:
            result = await self._drive(lease, kept, stop)
        except Cancelled:
            await self._leases.give_back(lease)
            log.info("a job is given back", extra=about)
            return "given_back"
        except DependencyUnavailable as error:
            await self._leases.postpone(lease, error.message)
            log.warning("a job waits", extra=structured(job=lease.job_id, problem=error.message))
            return "postponed"
        except HearthError as error:
            await self._leases.park(lease, Failure(error.reason.value, error.message))
            log.warning("a job is given up", extra=structured(job=lease.job_id, problem=error.message))
            return "failed"
        except LeaseLost:
            raise
        except Exception:
            log.exception("a job is given up", extra=about)
            failure = Failure("INTERNAL", f"internal error; the worker's log has it under job {lease.job_id}")
            await self._leases.park(lease, failure)
            return "failed"
        await self._leases.succeed(lease, result)
        log.info("a job has succeeded", extra=about)
        return "succeeded"

    async def _survive(self, lease: Lease) -> None:
        """Says as soon as the database answers that it was the database, and no death of this worker's."""
        while not self._stopping.is_set():
            with suppress(DependencyUnavailable):
                await self._leases.survive(lease)
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._poll)

    async def _hold(self, lease: Lease, stop: asyncio.Event, unanswered: asyncio.Event) -> None:
        """Renews the lease. Sets `stop` once the job is another's, was cancelled, or this worker stops.

        Sets `unanswered` where the database did not answer, so that the lease may have run out for that.
        """
        renewed = time.monotonic()
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._poll)
                stop.set()
                return
            try:
                if time.monotonic() - renewed >= self._leases.seconds / RENEWALS:
                    now = time.monotonic()
                    await self._leases.renew(lease)
                    renewed = now
                elif not await self._leases.is_held(lease):
                    stop.set()
            except LeaseLost:
                stop.set()
            except DependencyUnavailable:
                unanswered.set()
                if time.monotonic() - renewed >= self._leases.seconds:
                    stop.set()  # by now another worker may have it


def _span(lease: Lease) -> AbstractContextManager[traces.Span]:
    """A span of the trace that the job's request began, whichever worker it is in."""
    parent = {traces.TRACEPARENT: lease.trace} if lease.trace else {}
    about: dict[str, traces.Value] = {
        "hearth.job": lease.job_id,
        "hearth.model": lease.spec.model,
        "hearth.attempt": lease.attempt,
    }
    return traces.span("autosteer job", traces.Kind.CONSUMER, parent, about)


def pipeline_drive(
    inference_of: Callable[[str], Inference],
    catalogue: FeatureCatalogue,
    encode: Callable[[], Awaitable[object]],
    judge_key: str,
) -> Drive:
    """Runs the pipeline; `inference_of` makes a client for an owner, `encode` loads the sentence encoder. While quick
    jobs run, others wait."""
    way, agreements = RightOfWay(), Agreements()

    async def drive(lease: Lease, kept: Kept, stop: asyncio.Event) -> Result:
        is_quick, inference = lease.spec.budget.tier is Tier.QUICK, inference_of(lease.owner)
        with way.taken() if is_quick else nullcontext():
            return await run(
                lease.spec,
                inference if is_quick else StandingAside(inference, way),
                catalogue,
                kept,
                kept.tell,
                stop,
                encode=await encode(),  # type: ignore[arg-type]
                judge_key=judge_key,
                now=time.monotonic if is_quick else way.now,
                agreements=agreements,
            )

    return drive

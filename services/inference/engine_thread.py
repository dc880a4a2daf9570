"""What every engine is: a thread that takes requests from any other, runs them in steps, and answers their sinks.

An engine of its own kind says what has room, how a request enters, what a step does and what is freed.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from services.errors import DeadlineUnreachable, HearthError, ModelLoading, QueueFull
from services.inference.fair_queue import FairQueue
from services.inference.sequence import Event, Failed, Sequence

log = logging.getLogger(__name__)
T = TypeVar("T")

LONGEST_RETRY = 30.0
"""Seconds after which who was refused is to come back, at most: there is room long before all that waits is done."""
IDLE_WAIT = 0.5
"""Seconds that the idle thread waits for work before it looks at deadlines again."""


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """How much runs at once."""

    max_running: int = 32
    """Sequences that run together; more wait."""
    max_waiting: int = 512
    """Requests that wait; more are refused."""
    kv_tokens: int = 65_536
    """Tokens of KV cache that running sequences may hold."""
    prefix_bytes: int = 512 << 20
    """Memory of the prefix cache."""
    prefill_busy: int = 64
    """Prompt tokens a step while others decode."""
    prefill_idle: int = 256
    """Prompt tokens a step while nobody decodes."""


class EngineThread(ABC):
    """Takes sequences from any thread, runs them on its own."""

    name: ClassVar[str]
    """Its name in settings and refusals."""
    version: ClassVar[str]
    """What receipts name."""

    def __init__(self, limits: EngineLimits) -> None:
        self.limits = limits
        self._queue = FairQueue()
        self.running: list[Sequence] = []
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._exclusive: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._draining = self._stopping = False
        self._thread = threading.Thread(target=self._loop, name="engine", daemon=True)
        self._pending: Counter[str] = Counter()
        """Requests that wait or run, by owner."""
        self._lock = threading.Lock()
        self.steps = 0
        self._seconds_per_request = 1.0

    @abstractmethod
    def _has_room(self, sequence: Sequence) -> bool:
        """Whether a request may enter beside those that run."""

    @abstractmethod
    def _enter(self, sequence: Sequence) -> None:
        """Gives a request what it needs to run."""

    @abstractmethod
    def _advance_all(self) -> None:
        """Runs one step of all that run."""

    @abstractmethod
    def _release(self, sequence: Sequence) -> None:
        """Frees what a request holds, whether or not it had entered."""

    def refuse(self, sequence: Sequence) -> None:  # noqa: B027
        """Raises EngineUnsupported for a request that this engine cannot run; an engine may run all."""

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def drain(self) -> None:
        """Refuses new requests; running ones go on."""
        with self._lock:
            self._draining = True

    def stop(self) -> None:
        """Fails what is left and ends the thread."""
        with self._lock:
            self._draining = self._stopping = True
        self._inbox.put(lambda: None)
        if self._thread.is_alive():
            self._thread.join()

    def submit(self, sequence: Sequence) -> None:
        """Queues a request. Raises EngineUnsupported, QueueFull, or ModelLoading while the server drains.

        Where the queue is full, an owner who has fewer requests in it than another still gets in: the last of the
        owner who has the most is refused instead.
        """
        self.refuse(sequence)
        with self._lock:
            self._check_open()
            if self._is_full(1) and self._pending[sequence.owner] + 1 >= max(
                self._pending.values(), default=0
            ):
                raise self._full()
            self._pending[sequence.owner] += 1
            self._inbox.put(lambda: self._queue.push(sequence))

    def _is_full(self, more: int = 0) -> bool:
        """Whether with so many `more` there were too many requests."""
        return self._pending.total() + more > self.limits.max_waiting + self.limits.max_running

    def _full(self) -> QueueFull:
        waiting = self._pending.total() - self.limits.max_running
        drained = self._seconds_per_request * waiting / self.limits.max_running
        return QueueFull(waiting, min(LONGEST_RETRY, max(1.0, drained)))

    def cancel(self, sequence: Sequence) -> None:
        """Ends a request at the next step; nothing more is sent."""
        sequence.cancelled = True
        self._inbox.put(lambda: None)

    def run_exclusively(self, work: Callable[[], T]) -> Future[T]:
        """Runs a function on the engine's thread between two steps."""
        future: Future[Any] = Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)

        with self._lock:
            self._check_open()
            self._exclusive.put(job)
            self._inbox.put(lambda: None)
        return future

    def _check_open(self) -> None:
        if self._draining:
            raise ModelLoading("the server is shutting down; try again on another", retry_after=1.0)

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._queue)

    @property
    def pending(self) -> int:
        """Requests that wait or run."""
        with self._lock:
            return self._pending.total()

    def _loop(self) -> None:
        while not self._stopping:
            self._take_in()
            try:
                self.step()
            except Exception:
                log.exception("a step failed; the sequences in it are ended")
                for sequence in list(self.running):
                    self._end(sequence, [Failed(HearthError("the engine failed on this batch"))])
        self._take_in(wait=False)  # what came in before the end must hear of it
        while not self._exclusive.empty():
            self._exclusive.get_nowait()()
        for sequence in [*self.running, *self._queue.remove(lambda s: True)]:
            self._end(sequence, [Failed(ModelLoading("the server has shut down", retry_after=1.0))])

    def _take_in(self, wait: bool = True) -> None:
        idle = wait and not self.running and not len(self._queue) and self._exclusive.empty()
        try:
            if idle:
                self._inbox.get(timeout=IDLE_WAIT)()
            while True:
                self._inbox.get_nowait()()
        except queue.Empty:
            pass

    def step(self) -> None:
        """Drops what is gone, admits what fits, runs a step and delivers."""
        self._drop()
        self._refuse_excess()
        with suppress(queue.Empty):
            self._exclusive.get_nowait()()
        self._admit()
        if not self.running:
            return
        self._advance_all()
        self.steps += 1

    def _tell(self, sequence: Sequence, events: list[Event]) -> None:
        """Answers; a caller who cannot be reached is dropped at the next step and ends nobody else."""
        try:
            sequence.sink(events)
        except Exception:
            log.exception("a caller could not be told; its request is dropped")
            sequence.cancelled = True

    def _drop(self) -> None:
        now = time.monotonic()

        def gone(sequence: Sequence) -> bool:
            return sequence.cancelled or (sequence.deadline is not None and now >= sequence.deadline)

        for sequence in [*self._queue.remove(gone), *(s for s in self.running if gone(s))]:
            late = not sequence.cancelled
            failed = Failed(DeadlineUnreachable("the call's deadline passed before it was done"))
            self._end(sequence, [failed] if late else [])

    def _refuse_excess(self) -> None:
        """Refuses what is too much: of the owners who have most, what came last."""
        while True:
            with self._lock:
                owner = max(self._queue.owners(), key=self._pending.__getitem__, default=None)
                if owner is None or not self._is_full():
                    return
                refusal = self._full()
            self._end(self._queue.take_last(owner), [Failed(refusal)])

    def _admit(self) -> None:
        while (sequence := self._queue.peek()) is not None:
            if self.running and not self._has_room(sequence):
                return
            self._queue.pop()
            sequence.admitted = time.monotonic()
            self.running.append(sequence)
            self._enter(sequence)

    def _end(self, sequence: Sequence, events: list[Event]) -> None:
        """Frees all that a sequence holds, whatever the reason, and says the last word."""
        try:
            self._release(sequence)
        finally:
            if sequence in self.running:
                self.running.remove(sequence)
                seconds = time.monotonic() - sequence.admitted
                self._seconds_per_request += 0.1 * (seconds - self._seconds_per_request)
            with self._lock:
                self._pending -= Counter([sequence.owner])  # forgets who has none
            if events:
                self._tell(sequence, events)

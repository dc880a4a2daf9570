"""What a peer is, inside the process that runs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from bench.workload import Request, Stream


class Peer(Protocol):
    """An engine under test. Made by its module's `load` from the options of its entry in the registry."""

    def run(
        self, requests: Sequence[Request], max_batch: int | None, options: Mapping[str, Any]
    ) -> list[Stream]:
        """Generates for all requests, each from its arrival on, to its full length whatever the model says."""
        ...

    def about(self) -> str:
        """Releases and settings, for the report."""
        ...


class Clock:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def __call__(self) -> float:
        return time.perf_counter() - self._start

    def sleep_until(self, moment: float) -> None:
        """Waits; returns at once where the moment has passed."""
        time.sleep(max(0.0, moment - self()))


def in_static_batches(
    requests: Sequence[Request],
    max_batch: int | None,
    generate: Callable[[list[Request], Clock], list[list[float]]],
) -> list[Stream]:
    """Serves as an engine without continuous batching must: what has arrived is one batch, the rest waits for its end.

    `generate` returns the times of each row's tokens, which it may overrun to the longest row's length.
    """
    clock = Clock()
    waiting = sorted(range(len(requests)), key=lambda n: requests[n].at)
    streams: dict[int, Stream] = {}
    while waiting:
        clock.sleep_until(requests[waiting[0]].at)
        arrived = [n for n in waiting if requests[n].at <= clock()][:max_batch]
        waiting = [n for n in waiting if n not in arrived]
        batch = [requests[n] for n in arrived]
        for n, times in zip(arrived, generate(batch, clock), strict=True):
            streams[n] = Stream(requests[n].at, tuple(times[: requests[n].new_tokens]), requests[n].probe)
    return [streams[n] for n in range(len(requests))]

"""From the engine's thread to asyncio: a request's events, merged where the reader is slower than the engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from services.inference.engine_thread import EngineThread
from services.inference.meters import TokenClock
from services.inference.sequence import Delta, Event, Failed, Finished, Read, Sequence


class EventStream:
    """The events of one request. What waits is bounded by the request's own length: deltas that wait are merged."""

    def __init__(self, clock: TokenClock | None = None) -> None:
        """`clock` is told of tokens as they come, however late they are read."""
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Event] = []
        self._news = asyncio.Event()

    def sink(self, events: list[Event]) -> None:
        """Takes events; called on the engine's thread."""
        try:
            self._loop.call_soon_threadsafe(self._take, events)
        except RuntimeError:  # the loop is closed: nobody listens any more
            return

    def _take(self, events: list[Event]) -> None:
        for event in events:
            if self._clock is not None and isinstance(event, Delta) and event.choices:
                self._clock.saw(len(event.choices))
            last = self._waiting[-1] if self._waiting else None
            if isinstance(event, Delta) and isinstance(last, Delta):
                self._waiting[-1] = Delta(last.text + event.text, last.choices + event.choices)
            else:
                self._waiting.append(event)
        self._news.set()

    async def batches(self) -> AsyncIterator[list[Event]]:
        """What has come since the last look, for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            events, self._waiting = self._waiting, []
            yield events


async def run(engine: EngineThread, sequence: Sequence, stream: EventStream) -> AsyncGenerator[Event]:
    """Submits a request and yields its events up to its last. Raises what it failed with; frees its place if left."""
    engine.submit(sequence)
    over = False
    try:
        async for events in stream.batches():
            for event in events:
                if isinstance(event, Failed):
                    over = True
                    raise event.error
                over = isinstance(event, Finished | Read)
                yield event
                if over:
                    return
    finally:
        if not over:
            engine.cancel(sequence)

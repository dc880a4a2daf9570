"""An event loop in a thread of its own, for servers beside commands that run in the test's thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Wait(Protocol):
    """Runs a coroutine in the loop and waits for what it returns."""

    def __call__(self, coroutine: Coroutine[Any, Any, T]) -> T: ...


@contextmanager
def loop_in_thread() -> Iterator[Wait]:
    """Runs coroutines in the loop of a thread, which ends with the block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def wait(coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)

    try:
        yield wait
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()

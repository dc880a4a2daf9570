"""Work on many features beside the event loop, on few in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sized
from typing import TypeVar

IN_LOOP = 20
"""Features that are converted in the event loop, at most: 0.1 ms each, whole ones 0.8 ms; a thread costs as much as
one."""

_T = TypeVar("_T")


async def off_loop(features: Sized, work: Callable[[], _T]) -> _T:
    """What `work` on these features answers."""
    return work() if len(features) <= IN_LOOP else await asyncio.to_thread(work)

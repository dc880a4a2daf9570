"""Work that ends when the client goes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.exceptions import HTTPException
from starlette.types import Receive

T = TypeVar("T")


class ClientGone(HTTPException):
    """The client went before its answer; nobody receives this one."""

    def __init__(self) -> None:
        super().__init__(499, "the client has gone")  # logged so, as other gateways do


async def while_present(receive: Receive, work: Awaitable[T], seconds: float | None = None) -> T:
    """What the work returns; it is cancelled when the client goes, or after so many seconds.

    `receive` is the request's, whose body must have been read. Raises ClientGone, TimeoutError.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_gone(receive))
    try:
        done, _ = await asyncio.wait({working, leaving}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()
        working.cancel()  # nothing happens to one that is done
        await asyncio.wait({working, leaving})
    if working.cancelled():
        raise ClientGone if done else TimeoutError
    return working.result()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

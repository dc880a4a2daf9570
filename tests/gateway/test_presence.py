"""Work for a client ends when the client goes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.gateway.presence import ClientGone, while_present


class Endless:
    """Work that never ends by itself."""

    def __init__(self) -> None:
        self.begun, self.cancelled = asyncio.Event(), False

    async def run(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled = True


async def never() -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


async def test_work_returns_while_the_client_waits() -> None:
    async def quick() -> str:
        return "done"

    assert await while_present(never, quick()) == "done"


async def test_work_is_cancelled_when_the_client_goes() -> None:
    work = Endless()

    async def receive() -> dict[str, Any]:
        await work.begun.wait()
        return {"type": "http.disconnect"}

    with pytest.raises(ClientGone):
        await while_present(receive, work.run())
    assert work.cancelled


async def test_work_is_cancelled_when_its_time_is_up() -> None:
    work = Endless()
    with pytest.raises(TimeoutError):
        await while_present(never, work.run(), 0.01)
    assert work.cancelled


async def test_what_work_raises_is_raised() -> None:
    async def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await while_present(never, fails())

"""What the clients have in common: one channel, open while the client is used."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import grpc

from services.cli.settings import ClientSettings
from services.rpc.calls import OWNER_KEY
from services.rpc.channel import connect, rpc_failures


class Client(ABC):
    """Calls one process; an asynchronous context manager. Raises OSError where a file of TLS is of no use."""

    def __init__(self, address: str, deadline: float | None = None) -> None:
        """`deadline` is in seconds, for each call; each method has its own unless it is given."""
        self.address, self._deadline = address, deadline

    async def __aenter__(self) -> Self:
        settings = ClientSettings()
        key = settings.key.get_secret_value()
        self._channel = connect(self.address, deadline=self._deadline, tls=settings.tls, key=key)
        self._open(self._channel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()

    @abstractmethod
    def _open(self, channel: grpc.aio.Channel) -> None:
        """Makes the stubs."""

    @staticmethod
    def owned(owner: str) -> tuple[tuple[str, str], ...]:
        """The metadata of a call on somebody's behalf; nobody's where `owner` is empty."""
        return ((OWNER_KEY, owner),) if owner else ()


async def pages(method: Any, request: Any, metadata: tuple[tuple[str, str], ...] = ()) -> AsyncIterator[Any]:
    """The answers of a method that lists, page by page; `request` is changed."""
    while True:
        with rpc_failures():
            response = await method(request, metadata=metadata)
        yield response
        request.page_token = response.next_page_token
        if not request.page_token:
            return

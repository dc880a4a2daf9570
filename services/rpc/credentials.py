"""gRPC's credentials from TLS files, for servers and for channels that outlive a certificate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import grpc

from services.rpc.tls import SYSTEM, Pems, TlsFiles, TlsSettings

LINGER_SECONDS = 5.0
"""How long calls that were about to begin may still begin on a channel whose certificate was renewed."""


def server_credentials(settings: TlsSettings) -> grpc.ServerCredentials:
    """Those of a server, which takes renewed files for its next connection.

    With an authority, clients must show a certificate of it. Raises OSError where the files are of no use.
    """
    if settings.authority == SYSTEM:
        raise OSError(
            "HEARTH_TLS_AUTHORITY=system is for clients; a server needs the file of its own authority"
        )
    files = TlsFiles(settings)

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        pems = files.changed()
        return None if pems is None else _configuration(pems)

    required = settings.authority is not None
    return grpc.dynamic_ssl_server_credentials(
        _configuration(files.pems),
        renewed,  # type: ignore[arg-type]  # None is for no change, which its types do not say
        require_client_authentication=required,
    )


def channel_credentials(pems: Pems) -> grpc.ChannelCredentials:
    """Those of a channel."""
    return grpc.ssl_channel_credentials(pems.authority, pems.key, pems.certificate)


def _configuration(pems: Pems) -> grpc.ServerCertificateConfiguration:
    assert pems.key is not None
    assert pems.certificate is not None
    return grpc.ssl_server_certificate_configuration([(pems.key, pems.certificate)], pems.authority)


class RenewedChannel(grpc.aio.Channel):
    """A channel that begins its calls on another one once its files have changed; those that run go on.

    gRPC fixes a channel's certificate when it is made: without this, a process would show an expired one at last.
    """

    def __init__(
        self, files: TlsFiles, open_channel: Callable[[Pems], grpc.aio.Channel], longest: float
    ) -> None:
        """`longest` is in seconds: how long calls may still run on a channel that is given up."""
        self._files, self._open, self._longest = files, open_channel, longest
        self._channel = open_channel(files.pems)
        self._ending: set[asyncio.Task[None]] = set()

    def current(self) -> grpc.aio.Channel:
        """The channel on which calls begin now."""
        pems = self._files.changed()
        if pems is not None:
            task = asyncio.get_running_loop().create_task(self._end(self._channel))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
            self._channel = self._open(pems)
        return self._channel

    async def _end(self, channel: grpc.aio.Channel) -> None:
        try:
            await asyncio.sleep(LINGER_SECONDS)
            await channel.close(self._longest)
        finally:
            await channel.close()

    async def close(self, grace: float | None = None) -> None:
        """Closes this channel and those that are given up."""
        for task in tuple(self._ending):
            task.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)
        await self._channel.close(grace)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Of the channel on which calls begin now."""
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Of the channel on which calls begin now."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Returns once the channel on which calls begin now is connected."""
        await self._channel.channel_ready()

    def unary_unary(self, *args: Any, **named: Any) -> Any:
        """A method of one request and one answer."""
        return _Method(self, "unary_unary", args, named)

    def unary_stream(self, *args: Any, **named: Any) -> Any:
        """A method that answers with a stream."""
        return _Method(self, "unary_stream", args, named)

    def stream_unary(self, *args: Any, **named: Any) -> Any:
        """A method that takes a stream."""
        return _Method(self, "stream_unary", args, named)

    def stream_stream(self, *args: Any, **named: Any) -> Any:
        """A method of two streams."""
        return _Method(self, "stream_stream", args, named)


class _Method:
    """A method of the channel on which calls begin at the moment."""

    def __init__(
        self, channel: RenewedChannel, kind: str, args: tuple[Any, ...], named: dict[str, Any]
    ) -> None:
        self._channel, self._kind, self._args, self._named = channel, kind, args, named
        self._made: tuple[grpc.aio.Channel, Any] | None = None

    def __call__(self, *args: Any, **named: Any) -> Any:
        current = self._channel.current()
        if self._made is None or self._made[0] is not current:
            self._made = current, getattr(current, self._kind)(*self._args, **self._named)
        return self._made[1](*args, **named)

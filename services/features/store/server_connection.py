"""The connection to a Qdrant server: its address, its deadlines, and what its failures mean."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from qdrant_client import AsyncQdrantClient
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse

from services.errors import DependencyUnavailable
from services.features.store.base import CollectionMissing, StoreUnusable
from services.rpc.channel import KEEPALIVE_OPTIONS, RpcFailure, rpc_failures

_LOG = logging.getLogger(__name__)

DEFAULT_PORT = 6334
"""Qdrant's own for gRPC."""
RECONNECT_OPTIONS = {
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 2000,
}
"""A server that was away is tried again at least so often; gRPC's default is 120 s."""
OUR_FAULT = {"ALREADY_EXISTS", "INVALID_ARGUMENT", "NOT_FOUND", "OUT_OF_RANGE", "UNIMPLEMENTED"}
"""Statuses that trying again does not help against; every other one means that the server cannot do it now."""


@dataclass(frozen=True, slots=True)
class QdrantSettings:
    """Where the server is, and how long it may take."""

    url: str
    """`http://host:6334` or `https://host:6334`: the port of gRPC."""
    api_key: str = field(default="", repr=False)
    timeout: float = 3.0
    """Seconds that a read may take."""
    write_timeout: float = 30.0
    """Seconds that a message of points, or a change to a collection, may take."""
    optimize_timeout: float = 600.0
    """Seconds that `optimize` waits for the server's indices."""


class Connection:
    """Connects at the first call, and again when the server was away."""

    def __init__(self, settings: QdrantSettings) -> None:
        """Raises StoreUnusable if the URL is none."""
        self.settings = settings
        try:
            url = urlsplit(settings.url)
            host, port = url.hostname, url.port or DEFAULT_PORT
        except ValueError as error:
            raise StoreUnusable(f"{settings.url!r} is no URL of a Qdrant server: {error}") from error
        if url.scheme not in ("http", "https") or not host:
            raise StoreUnusable(f"{settings.url!r} is no URL of a Qdrant server, such as http://qdrant:6334")
        self._client = AsyncQdrantClient(
            host=host,
            grpc_port=port,
            https=url.scheme == "https",
            api_key=settings.api_key or None,
            prefer_grpc=True,
            timeout=math.ceil(settings.write_timeout),
            check_compatibility=False,
            grpc_options=dict(KEEPALIVE_OPTIONS) | RECONNECT_OPTIONS,
        )

    # The client's own methods take whole seconds and convert messages in the event loop: its stubs are called instead.
    @property
    def points(self) -> Any:
        """The stub of Qdrant's Points service."""
        return self._client.grpc_points

    @property
    def collections(self) -> Any:
        """The stub of Qdrant's Collections service."""
        return self._client.grpc_collections

    async def read(self, method: Callable[..., Awaitable[Any]], request: object) -> Any:
        """The answer to a call that reads. Raises as `write` does."""
        return await _call(method, request, self.settings.timeout)

    async def write(self, method: Callable[..., Awaitable[Any]], request: object) -> Any:
        """The answer to a call that writes.

        Raises DependencyUnavailable, or RpcFailure where the server is well and the request is not.
        """
        return await _call(method, request, self.settings.write_timeout)

    async def close(self) -> None:
        """Closes it; calls that run end in errors."""
        await self._client.close()


async def _call(method: Callable[..., Awaitable[Any]], request: object, seconds: float) -> Any:
    try:
        with rpc_failures():
            return await method(request, timeout=seconds)
    except ResourceExhaustedResponse as refusal:  # a server that limits the rate of calls says when
        raise DependencyUnavailable(
            "the vector store", "RESOURCE_EXHAUSTED", float(refusal.retry_after_s)
        ) from refusal
    except RpcFailure as failure:
        if failure.code.name in OUR_FAULT:
            raise
        _LOG.warning("Qdrant answers %s: %s", failure.code.name, failure.message)
        raise DependencyUnavailable("the vector store", failure.code.name) from failure


@contextmanager
def missing(collection: str) -> Iterator[None]:
    """What is not found by calls within is that collection."""
    try:
        yield
    except RpcFailure as failure:
        if failure.code.name == "NOT_FOUND":
            raise CollectionMissing(collection) from failure
        raise

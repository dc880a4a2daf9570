"""Whether a process serves."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.rpc.channel import connect
from services.rpc.tls import TlsSettings

_HEALTH_SECONDS = 2.0
_HTTP = "http://"


async def is_serving(address: str, seconds: float = _HEALTH_SECONDS) -> bool:
    """Whether the server at an address answers its health check well: gRPC's, or that of http://HOST:PORT."""
    if address.startswith(_HTTP):
        return await _is_ready(address.removeprefix(_HTTP), seconds)
    async with connect(address, tls=TlsSettings()) as channel:
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=seconds
            )
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def _is_ready(address: str, seconds: float) -> bool:
    """Whether a gateway is ready; asked in so few words that no client for HTTP is needed."""
    host, _, port = address.rpartition(":")
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(seconds):
            answer, question = await asyncio.open_connection(host.strip("[]"), int(port))
            try:
                question.write(
                    f"GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode()
                )
                status = (await answer.readline()).split()
            finally:
                question.close()
            return status[1:2] == [b"200"]
    return False

"""How every process of Hearth calls another: one channel a target, with the mesh's timeouts, retries and balancing."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

import grpc

from services.rpc import traces
from services.rpc.calls import AUTHORIZATION_KEY, BEARER
from services.rpc.credentials import RenewedChannel, channel_credentials
from services.rpc.health_port import LIVENESS
from services.rpc.status import FieldViolation, RpcFailure, rpc_failures
from services.rpc.tls import LOOK_SECONDS, Pems, TlsFiles, TlsSettings

__all__ = ["DEFAULT_DEADLINE", "FieldViolation", "RpcFailure", "connect", "rpc_failures"]

DEFAULT_DEADLINE = 600.0
"""Seconds that a call may take which sets no deadline and whose method has none in the service config."""
MAX_MESSAGE_BYTES = 4 << 20
"""Largest answer that is accepted: gRPC's own default, which the API keeps to."""
KEEPALIVE_OPTIONS = (
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
)
"""Pings while a call runs, so that a dead server ends it; server.py allows them."""
LONGEST_BACKOFF_MS = 2_000
"""Between tries to reach a server that is gone. gRPC's own two minutes would outlast its restart by far."""


def connect(
    target: str,
    *,
    deadline: float | None = None,
    tls: TlsSettings | None = None,
    key: str = "",
    health: str = LIVENESS,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
) -> grpc.aio.Channel:
    """A channel to `target` (`host:port`, or `dns:///name:port` to spread calls over all its addresses).

    A call that sets no deadline gets `deadline` seconds if given, else its method's timeout in the service config, else
    DEFAULT_DEADLINE. Connects at the first call. Open it in the process that uses it.
    """
    config = _without_timeouts(service_config())
    if _has_several(target):
        config["healthCheckConfig"] = {"serviceName": health}
    options: list[tuple[str, Any]] = [
        ("grpc.service_config", json.dumps(config)),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_reconnect_backoff_ms", LONGEST_BACKOFF_MS),
        *KEEPALIVE_OPTIONS,
    ]
    interceptors = [*traces.interceptors(), _Unary(deadline, key), _Stream(deadline, key)]
    if tls is None or not tls.calls:
        return grpc.aio.insecure_channel(target, options=options, interceptors=interceptors)
    if tls.server_name:
        options.append(("grpc.ssl_target_name_override", tls.server_name))

    def secure(pems: Pems) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(
            target, channel_credentials(pems), options=options, interceptors=interceptors
        )

    return RenewedChannel(TlsFiles(tls, LOOK_SECONDS), secure, deadline or DEFAULT_DEADLINE)


def _has_several(target: str) -> bool:
    """Whether a target stands for several addresses. Of one alone, its own words are wanted when it cannot serve."""
    return target.startswith("dns:") or "," in target


@cache
def service_config() -> dict[str, Any]:
    """The API's service config, packaged with the stubs: timeout, retries and load balancing by method."""
    text = (resources.files("hearth.v1") / "service_config.json").read_text(encoding="utf-8")
    config: dict[str, Any] = json.loads(text)
    return config


# gRPC's own handling of the service config's timeout neither tells the server nor keeps the time: calls end 1 to 1.5 s
# early (grpc/grpc issues 34547 and 40633; measured here with grpcio 1.85). So it never sees the timeouts.
def _without_timeouts(config: dict[str, Any]) -> dict[str, Any]:
    methods = [
        {key: value for key, value in method.items() if key != "timeout"} for method in config["methodConfig"]
    ]
    return config | {"methodConfig": methods}


@cache
def _timeouts() -> dict[str, float]:
    """The service config's timeouts in seconds, by full method name."""
    return {
        f"/{name['service']}/{name['method']}": float(config["timeout"].removesuffix("s"))
        for config in service_config()["methodConfig"]
        if "timeout" in config
        for name in config["name"]
    }


class _Unary(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, seconds: float | None, key: str) -> None:
        self._seconds, self._key = seconds, key

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(_completed(client_call_details, self._seconds, self._key), request)


class _Stream(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, seconds: float | None, key: str) -> None:
        self._seconds, self._key = seconds, key

    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(_completed(client_call_details, self._seconds, self._key), request)


def _completed(details: Any, seconds: float | None, key: str) -> Any:
    """A call's details, with a deadline and the key."""
    if key:
        metadata = grpc.aio.Metadata(*(details.metadata or ()), (AUTHORIZATION_KEY, f"{BEARER}{key}"))
        details = details._replace(metadata=metadata)
    if details.timeout is not None:
        return details
    if seconds is None:
        method = details.method.decode() if isinstance(details.method, bytes) else details.method
        seconds = _timeouts().get(method, DEFAULT_DEADLINE)
    return details._replace(timeout=seconds)

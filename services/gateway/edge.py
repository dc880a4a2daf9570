"""What happens around every request: its id, its limits of size and time, headers of its answer, and its log line."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway import metrics
from services.gateway.failures import response_of, told
from services.gateway.settings import GatewaySettings
from services.rpc import traces
from services.rpc.calls import digest_of, request_id
from services.rpc.logs import REQUEST_ID, begin_tally, structured
from services.rpc.status import REQUEST_ID_KEY

log = logging.getLogger("hearth.gateway")

PROBES = ("/healthz", "/readyz")
"""Asked every few seconds for as long as the gateway lives: not worth a line."""
SECURITY_HEADERS = {
    # The page loads nothing from elsewhere, and nothing written into it by a model can run.
    "content-security-policy": "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Edge:
    """The outermost part of the app. Its log lines have no query, no body, no key and no address."""

    def __init__(self, app: ASGIApp, settings: GatewaySettings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})
        headers = Headers(scope=scope)
        exchange = _Exchange(scope, send, request_id(headers.get(REQUEST_ID_KEY, "")))
        REQUEST_ID.set(exchange.request_id)  # each request has its own task, so this ends with it
        with exchange.observed(headers):
            await self._answer(scope, receive, headers, exchange)

    async def _answer(self, scope: Scope, receive: Receive, headers: Headers, exchange: _Exchange) -> None:
        limit = asyncio.timeout(self._settings.max_request_seconds)
        try:
            async with limit:
                _check_length(headers, self._settings.max_body_bytes)
                body = _Body(receive, self._settings)
                await self._app(scope, body.receive, exchange.send)
        except Exception as error:
            await exchange.fail(error)


@dataclass(slots=True)
class _Exchange:
    """A request and its answer."""

    scope: Scope
    forward: Send
    request_id: str
    began: float = field(default_factory=time.perf_counter)
    status: int = 0
    """Of the answer; 0 until it begins."""
    is_whole: bool = False
    tally: dict[str, int] = field(default_factory=begin_tally)
    """Numbers for its line, such as tokens."""

    @contextmanager
    def observed(self, headers: Headers) -> Iterator[None]:
        """Around the whole of it: its span, what metrics count of it, and its line in the log."""
        method = self.scope["method"]
        parent = {name: headers[name] for name in (traces.TRACEPARENT, traces.TRACESTATE) if name in headers}
        is_probe = self.scope["path"] in PROBES
        span = nullcontext(None) if is_probe else traces.span(method, traces.Kind.SERVER, parent)
        with span as told, metrics.request_running():
            try:
                yield
            finally:
                self.log()
                route, seconds = _route(self.scope), time.perf_counter() - self.began
                metrics.request_ended(method, route, self.status, seconds, is_whole=self.is_whole)
                if told is not None:
                    told.rename(f"{method} {route}")
                    told.set(
                        {
                            "http.request.method": method,
                            "http.route": route,
                            "http.response.status_code": self.status,
                            "hearth.request_id": self.request_id,
                        }
                    )
                    if self.status >= 500:
                        told.fail()

    async def send(self, message: Message) -> None:
        """Sends a part of the answer, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(raw=list(message.get("headers", ())))
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("cache-control", "no-store")
            headers[REQUEST_ID_KEY] = self.request_id
            message = {**message, "headers": headers.raw}
        elif not message.get("more_body", False):
            self.is_whole = True
        await self.forward(message)

    async def fail(self, error: Exception) -> None:
        """Answers with what went wrong; nothing can be said where the answer has begun."""
        problem = await told(error, self.scope["app"])
        if not self.status:
            await response_of(problem, self.scope["path"])(self.scope, _nothing, self.send)

    def log(self) -> None:
        """The request's one line. Its path is that of the route, for what stands in a real one is the caller's."""
        fields: dict[str, object] = {
            "method": self.scope["method"],
            "route": _route(self.scope),
            "status": self.status,
            "ms": round((time.perf_counter() - self.began) * 1e3, 1),
        }
        if not self.is_whole:
            fields["broken_off"] = True
        if key_id := self.scope["state"].get("key_id"):
            fields["key"] = key_id
        if owner := self.scope["state"].get("owner"):
            fields["owner"] = digest_of(owner)
        log.log(
            logging.DEBUG if fields["route"] in PROBES else logging.INFO,
            "request",
            extra=structured(**fields, **self.tally),
        )


class _Body:
    """A request's body, which has its limits of size and time."""

    def __init__(self, receive: Receive, settings: GatewaySettings) -> None:
        self._receive, self._most = receive, settings.max_body_bytes
        self._seconds = settings.body_seconds
        self._until = asyncio.get_running_loop().time() + settings.body_seconds
        self._size = 0
        self._is_whole = False

    async def receive(self) -> Message:
        """The next part. Raises HTTPException where it is too much or too late."""
        if self._is_whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until) as limit:
                message = await self._receive()
        except TimeoutError:
            if not limit.expired():
                raise
            raise HTTPException(408, f"the body did not arrive within {self._seconds:g} s") from None
        self._size += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        if self._size > self._most:
            raise _too_large(self._most)
        return message


def _route(scope: Scope) -> str:
    """The path, its parameters' names in the place of what stands there; `none` where nothing answers it."""
    if "route" not in scope:
        return "none"
    parts = scope["path"].split("/")
    for name, value in scope.get("path_params", {}).items():
        if str(value) in parts:
            parts[parts.index(str(value))] = f"{{{name}}}"
    return "/".join(parts)


def _check_length(headers: Headers, most: int) -> None:
    """Raises HTTPException for a body that says itself that it is too large."""
    length = headers.get("content-length", "")
    if length.isdigit() and int(length[:20]) > most:
        raise _too_large(most)


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"the body is too large; allowed: at most {most:,} bytes")


async def _nothing() -> Any:
    return {"type": "http.disconnect"}

"""Answers that arrive event by event (server-sent events)."""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from collections.abc import AsyncIterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from services.gateway.failures import body_of, told
from services.gateway.presence import ClientGone, while_present

HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
"""So that nothing on the way keeps events back."""
DONE = "[DONE]"
"""What OpenAI's and Ember's streams end with."""
_COMMENT = b": still here\n\n"


@dataclass(frozen=True, slots=True)
class Numbered:
    """An event that a client can go on after (Last-Event-ID)."""

    id: str
    data: Mapping[str, Any]


Event: TypeAlias = Mapping[str, Any] | Numbered | str | bytes
"""JSON to be written; or text that is sent as data as it stands, such as DONE; or bytes, such as a comment."""


def sse(events: AsyncIterable[Event], *, keep_alive: float | None = None) -> EventStream:
    """A response that sends each event as it comes.

    An error before the first event is raised as any other, so that it becomes a status; a later one is the last event,
    in the contract's shape. With `keep_alive`, a comment is sent after so many silent seconds: for clients whose SDK
    bears it, which Ember's does not. `events` is closed when the client goes: an asynchronous generator cancels its
    call in `finally`.
    """
    return EventStream(events, keep_alive)


def encoded(event: Event) -> bytes:
    """An event as it is sent. `data: ` never stands within: Ember's SDK would split it there."""
    if isinstance(event, bytes):
        return event
    if isinstance(event, str):
        return f"data: {event}\n\n".encode()
    if isinstance(event, Numbered):
        return f"id: {event.id}\ndata: {_json(event.data)}\n\n".encode()
    return f"data: {_json(event)}\n\n".encode()


_write = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode


def _json(value: Mapping[str, Any]) -> str:
    # Outside of texts no space follows a colon, so that only texts are changed.
    return _write(value).replace("data: ", "data\\u003a ")


class EventStream(Response):
    """Sends events while the client listens."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterable[Event], keep_alive: float | None = None) -> None:
        self.status_code = 200
        self.background: BackgroundTask | None = None
        self._events, self._keep_alive = events, keep_alive
        self._sent = 0.0
        """When the last event was sent; 0 before the first."""
        self.init_headers(HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends all events; returns early where the client goes."""
        with suppress(ClientGone):
            await while_present(receive, self._send_all(scope, send))

    async def _send_all(self, scope: Scope, send: Send) -> None:
        commenting: asyncio.Task[None] | None = None
        try:
            async for event in self._events:
                if not self._sent:
                    await send(self._start)
                    if self._keep_alive is not None:
                        commenting = asyncio.create_task(self._comment(send, self._keep_alive))
                self._sent = time.monotonic()
                await send({"type": "http.response.body", "body": encoded(event), "more_body": True})
        except Exception as error:
            if not self._sent:
                raise
            last = encoded(body_of(await told(error, scope["app"]), scope["path"]))
            await send({"type": "http.response.body", "body": last, "more_body": True})
        finally:
            if commenting is not None:
                commenting.cancel()
            if inspect.isasyncgen(self._events):
                await self._events.aclose()
        if not self._sent:
            await send(self._start)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _comment(self, send: Send, seconds: float) -> None:
        """Sends a comment after each silence, for ever: a timer beside the events costs them nothing."""
        while True:
            silent = time.monotonic() - self._sent
            if silent >= seconds:
                self._sent += silent
                await send({"type": "http.response.body", "body": _COMMENT, "more_body": True})
            else:
                await asyncio.sleep(seconds - silent)

    @property
    def _start(self) -> Message:
        return {"type": "http.response.start", "status": 200, "headers": self.raw_headers}

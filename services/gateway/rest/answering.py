"""How a route is answered: its RPC is called on the caller's behalf, and what it answers is written as JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from services.errors import InvalidField
from services.gateway.callers import Caller
from services.gateway.gateway import Gateway
from services.gateway.presence import while_present
from services.gateway.rest.table import Route
from services.gateway.rest.wire.methods import is_stream
from services.gateway.rest.wire.reading import request_of
from services.gateway.rest.wire.watching import has_all, job_of
from services.gateway.rest.wire.writing import written
from services.gateway.streaming import Event, Numbered, sse
from services.keys.wire.meter import Meter
from services.rpc.channel import rpc_failures

LAST_EVENT = "last-event-id"
_OPENED = b": open\n\n"
"""Sent where the first event may be long in coming, so that the answer begins."""


async def answer(route: Route, http: Request, gateway: Gateway, caller: Caller) -> Response:
    """The answer of one route. Raises InvalidField, RpcFailure."""
    asked = request_of(route, http.path_params, _query(route, http), await http.body())
    if route.last_event:
        return await _followed(route, asked, gateway, caller)
    if is_stream(route):
        events = _events(route, asked, gateway, caller)
        return sse(events, keep_alive=gateway.settings.keep_alive_seconds)
    meter = Meter(asked)
    with rpc_failures():
        found = await while_present(http.receive, _rpc(route, gateway)(asked, metadata=caller.metadata))
    meter.see(found)
    if meter.tokens:
        await caller.charge(meter.tokens)
    return JSONResponse(await written(found))


def _query(route: Route, http: Request) -> list[tuple[str, str]]:
    """The query's parameters; Last-Event-ID goes before the one that it stands for."""
    pairs = http.query_params.multi_items()
    last = http.headers.get(LAST_EVENT)
    if not route.last_event or last is None:
        return pairs
    if not last.isascii() or not last.isdigit():
        raise InvalidField("Last-Event-ID", f"is {last[:50]!r}; allowed: the id of an event")
    return [(name, value) for name, value in pairs if name != route.last_event] + [(route.last_event, last)]


async def _events(route: Route, asked: Any, gateway: Gateway, caller: Caller) -> AsyncIterator[Event]:
    meter = Meter(asked)
    call = _rpc(route, gateway)(asked, metadata=caller.metadata)
    try:
        with rpc_failures():
            async for event in call:
                meter.see(event)
                yield await written(event)
    finally:
        call.cancel()
        if meter.tokens:
            await caller.charge(meter.tokens)


async def _followed(route: Route, asked: Any, gateway: Gateway, caller: Caller) -> Response:
    """A job's events behind one. 204, at which browsers do not come again, where there are no more."""
    with rpc_failures():
        found = await gateway.services.autosteer.GetAutoSteerJob(job_of(asked), metadata=caller.metadata)
    if has_all(asked, found):
        return Response(status_code=204)

    async def events() -> AsyncIterator[Event]:
        yield _OPENED
        call = _rpc(route, gateway)(asked, metadata=caller.metadata)
        try:
            with rpc_failures():
                async for event in call:
                    yield Numbered(str(event.sequence), await written(event))
        finally:
            call.cancel()

    return sse(events(), keep_alive=gateway.settings.keep_alive_seconds)


def _rpc(route: Route, gateway: Gateway) -> Any:
    return getattr(getattr(gateway.services, route.service), route.method)

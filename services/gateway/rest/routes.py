"""Hearth's own REST API, made from the table, and the OpenAPI document of the whole gateway."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from services.gateway.callers import TheCaller
from services.gateway.gateway import TheGateway
from services.gateway.rest.answering import answer
from services.gateway.rest.document import whole
from services.gateway.rest.table import BASE, ROUTES, Route

router = APIRouter()


@router.get("/openapi.json", include_in_schema=False)
async def openapi(http: Request) -> JSONResponse:
    """The OpenAPI document of all routes; needs no key."""
    state = http.app.state
    if not hasattr(state, "openapi"):
        state.openapi = whole(http.app)
    return JSONResponse(state.openapi)


def _endpoint(route: Route) -> Callable[..., Awaitable[Response]]:
    async def endpoint(http: Request, gateway: TheGateway, caller: TheCaller) -> Response:
        return await answer(route, http, gateway, caller)

    return endpoint


for route in ROUTES:
    # Not in FastAPI's own schema: openapi.json describes them.
    router.add_api_route(
        BASE + route.path,
        _endpoint(route),
        methods=[route.verb],
        include_in_schema=False,
        name=route.operation_id,
    )

"""The page at `/`, and what it is told before it has a key."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from services.gateway.callers import is_from_here
from services.gateway.gateway import TheGateway
from services.gateway.web.assets import INDEX, read_assets
from services.gateway.web.bodies import SessionBody

router = APIRouter(include_in_schema=False)
_ASSETS = read_assets()


@router.get("/hearth/v1/session")
async def session(http: Request, gateway: TheGateway) -> SessionBody:
    """Names the key `dev` where it is accepted, so that nobody need type it; needs no key itself."""
    return SessionBody(key="dev" if gateway.settings.accepts_dev_key and is_from_here(http) else None)


@router.get("/")
async def page(http: Request) -> Response:
    """The page."""
    return _answer(http, INDEX)


@router.get("/hearth.svg")
async def icon(http: Request) -> Response:
    """Its icon."""
    return _answer(http, "hearth.svg")


@router.get("/assets/{name}")
async def asset(http: Request, name: str) -> Response:
    """A script or a style sheet of the page."""
    return _answer(http, f"assets/{name}")


def _answer(http: Request, name: str) -> Response:
    found = _ASSETS.get(name)
    if found is None:
        raise HTTPException(404, "no such page")
    if http.headers.get("if-none-match") == found.headers["etag"]:
        return Response(status_code=304, headers=dict(found.headers))
    packs = "gzip" in http.headers.get("accept-encoding", "")
    body = found.compressed if packs else found.body
    return Response(body, headers=found.headers_of("gzip" if packs else ""))

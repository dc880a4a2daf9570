"""Whether the gateway is up, and whether what it needs is."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from starlette.responses import JSONResponse

from services.gateway.gateway import TheGateway

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
async def healthz() -> JSONResponse:
    """The process answers; for a liveness probe."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz")
async def readyz(gateway: TheGateway, of: Literal["keys"] | None = None) -> JSONResponse:
    """What each service answers to its health check; 503 unless all of them serve.

    With `of=keys`, the database of keys alone: for a readiness probe. A gateway that is taken away because a service is
    away could not say so itself, and what needs another service would be gone as well.
    """
    serving = {"keys": gateway.keys_serve()}
    if of is None:
        serving |= await gateway.services.serving()
    ready = all(serving.values())
    return JSONResponse({"ready": ready, "serving": serving}, 200 if ready else 503)

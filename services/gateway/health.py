"""Whether the gateway is up, and whether what it needs is."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse

from services.gateway.gateway import TheGateway

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
async def healthz() -> JSONResponse:
    """The process answers; for a liveness probe."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz")
async def readyz(gateway: TheGateway) -> JSONResponse:
    """What each service answers to its health check; 503 unless all of them serve."""
    serving = {"keys": gateway.keys_serve(), **await gateway.services.serving()}
    ready = all(serving.values())
    return JSONResponse({"ready": ready, "serving": serving}, 200 if ready else 503)

"""The HTTP application: all routes, and what surrounds them."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from services.gateway import failures, health
from services.gateway.edge import Edge
from services.gateway.gateway import Gateway

_PARTS = ("openai", "ember", "rest", "web")


def create_app(gateway: Gateway) -> FastAPI:
    """An app whose routes work with `gateway`. The documents of the API are a part of `rest`, not FastAPI's own."""
    app = FastAPI(title="Hearth", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.gateway = gateway
    app.include_router(health.router)
    for part in _PARTS:
        if find_spec(f"services.gateway.{part}") and find_spec(f"services.gateway.{part}.routes"):
            app.include_router(import_module(f"services.gateway.{part}.routes").router)
    failures.install(app)
    if gateway.settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=gateway.settings.cors_origins,
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["*"],
            expose_headers=["x-request-id", "retry-after"],
        )
    app.add_middleware(Edge, settings=gateway.settings)
    return app

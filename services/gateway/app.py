"""The HTTP application: all routes, and what surrounds them."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from services.gateway import failures, health
from services.gateway.edge import Edge
from services.gateway.ember import routes as ember
from services.gateway.gateway import Gateway
from services.gateway.openai import routes as openai
from services.gateway.rest import routes as rest
from services.gateway.web import routes as web


def create_app(gateway: Gateway) -> FastAPI:
    """An app whose routes work with `gateway`. The documents of the API are a part of `rest`, not FastAPI's own."""
    app = FastAPI(title="Hearth", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.gateway = gateway
    for part in (health, openai, ember, rest, web):
        app.include_router(part.router)
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

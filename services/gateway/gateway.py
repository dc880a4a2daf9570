"""What every route works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from services.gateway.clients.services import Services
from services.gateway.models import Models
from services.gateway.settings import GatewaySettings
from services.keys.gatekeeper import Gatekeeper


@dataclass(frozen=True, slots=True)
class Gateway:
    """Kept at `app.state.gateway`."""

    services: Services
    models: Models
    keys: Gatekeeper
    settings: GatewaySettings
    keys_serve: Callable[[], bool]
    """Whether the database of keys answers."""


def gateway(connection: HTTPConnection) -> Gateway:
    """The gateway that a request came to; a dependency of routes."""
    return cast("Gateway", connection.app.state.gateway)


TheGateway = Annotated[Gateway, Depends(gateway)]
"""A route's parameter: `async def route(gateway: TheGateway)`."""

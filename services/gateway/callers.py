"""Who asks: the bearer key of a request, and what every call to a service says on its behalf."""

from __future__ import annotations

import ipaddress
import logging
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection

from services.errors import DependencyUnavailable
from services.gateway import metrics
from services.gateway.gateway import TheGateway
from services.keys.gatekeeper import Gatekeeper, KeyRefused
from services.keys.key import Key
from services.rpc.calls import OWNER_KEY
from services.rpc.logs import REQUEST_ID, tally
from services.rpc.status import REQUEST_ID_KEY

log = logging.getLogger(__name__)

BEARER = HTTPBearer(auto_error=False, description="A key that `hearth keys create` has made.")
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner of a key, asking once."""

    key: Key
    request_id: str
    keys: Gatekeeper

    @property
    def owner(self) -> str:
        """On whose behalf calls are made; empty for the key `dev`, as for `hearth` without --owner."""
        return self.key.owner

    @property
    def key_id(self) -> str:
        """The key's id."""
        return self.key.id

    @property
    def metadata(self) -> list[tuple[str, str]]:
        """What every call to a service carries."""
        pairs = [(REQUEST_ID_KEY, self.request_id)]
        if self.owner:
            pairs.append((OWNER_KEY, self.owner))
        return pairs

    async def charge(self, tokens: int) -> None:
        """Counts tokens of prompt and answer against the day's number, after the fact."""
        metrics.charged(tokens)
        tally(tokens=tokens)
        try:
            await self.keys.charge(self.key, tokens)
        except DependencyUnavailable:  # the answer is there already: better uncounted than lost
            log.warning("tokens were not counted")


async def authenticated(
    connection: HTTPConnection,
    gateway: TheGateway,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)],
) -> Caller:
    """Who asks; a dependency of routes. Counts the request. Raises KeyRefused, QuotaExceeded."""
    if credentials is None:
        raise KeyRefused
    key = await gateway.keys.admit(credentials.credentials, from_here=is_from_here(connection))
    connection.state.key_id, connection.state.owner = key.id, key.owner
    return Caller(key, REQUEST_ID.get(), gateway.keys)


TheCaller = Annotated[Caller, Depends(authenticated)]
"""A route's parameter: `async def route(caller: TheCaller)`."""


def is_from_here(connection: HTTPConnection) -> bool:
    """Whether a request comes from this machine for certain: asked for by its own name, and through no proxy.

    The name matters because a page of any site can make its own name lead to this machine (DNS rebinding), and would
    then read what the key `dev` opens.
    """
    if any(name in connection.headers for name in _FORWARDED):
        return False
    return _is_loopback(_name(connection.headers.get("host", ""))) and (
        connection.client is None or _is_loopback(connection.client.host)
    )


def _name(host: str) -> str:
    """A Host header without its port."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"

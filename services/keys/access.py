"""Who may call a gRPC process: the owners of keys, each for itself, and trusted peers on anybody's behalf."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from services.database.database import Database
from services.errors import DependencyUnavailable, NotAllowed, Unauthenticated
from services.keys.database.schema import MIGRATIONS
from services.keys.gatekeeper import Gatekeeper, KeyRefused
from services.keys.key import Key
from services.keys.keyring import Keyring
from services.keys.usage import Usage
from services.keys.wire.meter import Meter
from services.rpc.access import Admission, Caller
from services.rpc.calls import OWNER_KEY

log = logging.getLogger(__name__)
LOOPBACK = "loopback"
"""Among the trusted: this machine."""
RESERVED = frozenset(
    f"/hearth.v1.FeatureService/{method}"
    for method in ("BeginImport", "BatchUpsertFeatures", "CommitImport", "DeleteCatalog")
)
"""Methods that change what all owners see and that no key opens; the gateway has no routes to them."""


class Doors:
    """Opens the database's tables before the first key is looked up."""

    def __init__(self, database: Database, seconds: float) -> None:
        self._database = database
        self._keys = Gatekeeper(Keyring(database), Usage(database), accepts_dev=False, seconds=seconds)
        self._is_upgraded = False

    async def key(self, secret: str) -> Key:
        """The key that opens, one request of it counted. Raises KeyRefused, QuotaExceeded, DependencyUnavailable."""
        if not self._is_upgraded:
            await self._database.upgrade(MIGRATIONS)
            self._is_upgraded = True
        return await self._keys.admit(secret, from_here=False)

    async def charge(self, key: Key, tokens: int) -> None:
        """Counts tokens against the day's number, after the fact."""
        try:
            await self._keys.charge(key, tokens)
        except DependencyUnavailable:  # the answer is there already: better uncounted than lost
            log.warning("tokens were not counted")


@dataclass(frozen=True, slots=True)
class Believed:
    """A trusted peer's call."""

    owner: str

    def see(self, answer: Any) -> None:
        """Nothing is counted: the gateway counts what it asks for."""

    async def settle(self) -> None:
        """Nothing is counted."""


@dataclass(frozen=True, slots=True)
class Keyed:
    """A call with a key."""

    key: Key
    meter: Meter
    doors: Doors

    @property
    def owner(self) -> str:
        """The key's."""
        return self.key.owner

    def see(self, answer: Any) -> None:
        """Counts the answer's tokens."""
        self.meter.see(answer)

    async def settle(self) -> None:
        """Charges what was counted."""
        await self.doors.charge(self.key, self.meter.tokens)


class Access:
    """The authenticator of gRPC processes."""

    def __init__(self, trusted: frozenset[str], doors: Doors | None) -> None:
        self._trusted, self._doors = trusted, doors

    async def admit(self, caller: Caller, request: Any) -> Admission:
        """Raises Unauthenticated, NotAllowed, QuotaExceeded, DependencyUnavailable."""
        if caller.key:
            return await self._keyed(caller, request)
        if caller.names & self._trusted or (caller.from_here and LOOPBACK in self._trusted):
            return Believed(caller.owner)
        raise Unauthenticated

    async def _keyed(self, caller: Caller, request: Any) -> Admission:
        if self._doors is None:
            raise Unauthenticated
        try:
            key = await self._doors.key(caller.key)
        except KeyRefused:
            raise Unauthenticated from None
        if caller.owner not in ("", key.owner):
            raise NotAllowed(
                f"this key is {key.owner}'s: calls with it are made on nobody else's behalf", field=OWNER_KEY
            )
        if caller.method in RESERVED:
            raise NotAllowed("catalogues are imported and deleted by trusted peers, not with a key")
        return Keyed(key, Meter(request), self._doors)

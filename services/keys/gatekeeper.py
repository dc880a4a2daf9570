"""Decides whether a key opens: it is known and not revoked, and its quotas are not used up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from weakref import WeakValueDictionary

from services.keys import metrics
from services.keys.key import Key, Quotas, digest_of
from services.keys.keyring import Keyring
from services.keys.usage import Usage

DEV = "dev"
"""The key that everybody knows; accepted only where just this machine can ask."""
_MOST_KNOWN = 10_000
"""Keys that are remembered at once."""


class KeyRefused(Exception):
    """The key is unknown, revoked, or there is none."""


class Gatekeeper:
    """Asks the database once for a key and trusts it for `seconds`; counts what has a quota."""

    def __init__(
        self,
        keyring: Keyring,
        usage: Usage,
        *,
        accepts_dev: bool,
        seconds: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keyring, self._usage, self._seconds, self._now = keyring, usage, seconds, now
        self._dev = Key(DEV, DEV, DEV, "", datetime.now(UTC), None, Quotas()) if accepts_dev else None
        self._known: dict[bytes, tuple[float, Key]] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def admit(self, secret: str, *, from_here: bool) -> Key:
        """The key that opens, one request of it counted. `from_here`: the request comes from this machine for certain.

        Raises KeyRefused, QuotaExceeded, DependencyUnavailable.
        """
        if secret == DEV:
            if self._dev is None or not from_here:
                metrics.key_refused()
                raise KeyRefused
            return self._dev
        key = await self._find(digest_of(secret))
        if key.quotas != Quotas():
            # One at a time: those of one gateway would only undo each other's transactions.
            turn = self._turns.setdefault(key.id, asyncio.Lock())
            async with turn:
                await self._usage.take(key)
        return key

    async def charge(self, key: Key, tokens: int) -> None:
        """Counts the tokens of an answer. Raises DependencyUnavailable."""
        if key is not self._dev and tokens > 0:
            await self._usage.charge(key, tokens)

    async def _find(self, digest: bytes) -> Key:
        until, key = self._known.get(digest, (float("-inf"), None))
        if key is not None and self._now() < until:
            return key
        self._known.pop(digest, None)
        found = await self._keyring.find(digest)
        if found is None:
            metrics.key_refused()
            raise KeyRefused
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[digest] = (self._now() + self._seconds, found)
        return found

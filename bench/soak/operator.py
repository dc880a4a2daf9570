"""Who looks after the keys: makes one for each researcher, and during the run makes, uses and revokes others."""

from __future__ import annotations

import asyncio

import httpx2

from bench.soak.journal import Journal
from bench.soak.patience import Failure, GivenUp, Kind, Who, patiently
from bench.soak.plan import QUOTA_EVERY, QUOTA_PER_MINUTE
from services.keys.book import opened
from services.keys.key import Quotas
from services.keys.settings import KeysSettings

EVERY = 20.0
"""Seconds between two keys that are made during the run."""


def owner_of(number: int) -> str:
    """On whose behalf a researcher asks."""
    return f"researcher-{number:04d}"


class Operator:
    """Works as `hearth keys` does, on the gateway's database."""

    def __init__(self, settings: KeysSettings) -> None:
        self._settings = settings
        self.keys: dict[str, bool] = {}
        """All that were made, and whether they must open: False once they were revoked."""

    async def make(self, researchers: int) -> list[str]:
        """A key for each."""
        async with opened(self._settings) as book:
            made = []
            for number in range(researchers):
                limited = number % QUOTA_EVERY == QUOTA_EVERY - 1
                quotas = Quotas(requests_per_minute=QUOTA_PER_MINUTE) if limited else Quotas()
                made.append((await book.keyring.create(owner_of(number), "soak", quotas))[1])
        self.keys |= dict.fromkeys(made, True)
        return made

    async def work(self, journal: Journal, client: httpx2.AsyncClient, until: float) -> None:
        """Each key opens as soon as it is acknowledged; each second one is revoked after its use."""
        number = 0
        async with opened(self._settings) as book:
            while journal.now < until:
                await asyncio.sleep(EVERY)
                number += 1
                key, secret = await book.keyring.create(owner_of(0), f"soak-{number}", Quotas())
                self.keys[secret] = True

                async def opens(secret: str = secret) -> None:
                    await _use(client, secret)

                try:
                    await patiently(journal, Who(-2, "http"), "new key", opens)
                except GivenUp:
                    continue
                if number % 2:
                    await book.keyring.revoke(key.id)
                    self.keys[secret] = False


async def _use(client: httpx2.AsyncClient, secret: str) -> None:
    try:
        answer = await client.get("/hearth/v1/variants", headers={"authorization": f"Bearer {secret}"})
    except httpx2.HTTPError as error:
        raise Failure(Kind.AWAY, type(error).__name__) from None
    if answer.status_code != 200:
        kind = {429: Kind.REFUSED, 503: Kind.AWAY, 504: Kind.LATE}.get(answer.status_code, Kind.WRONG)
        raise Failure(kind, str(answer.status_code), answer.text)

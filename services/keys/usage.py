"""What keys use of their quotas, counted in SQL so that all gateways count together.

Requests are counted as a bucket that holds a minute's number and fills steadily: a key may use a whole minute's number
at once, and then goes on at its rate. Tokens are counted after the fact, by days in UTC: the request that goes over the
day's number is answered whole, and the next one refused.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.database.database import Database
from services.errors import QuotaExceeded
from services.keys import metrics
from services.keys.database.tables import UsageRow
from services.keys.key import Key, Quotas


def _now() -> datetime:
    return datetime.now(UTC)


class Usage:
    """Counts. Every method may raise DependencyUnavailable."""

    def __init__(self, database: Database, now: Callable[[], datetime] = _now) -> None:
        self._database, self._now = database, now

    async def take(self, key: Key) -> None:
        """Counts a request. Raises QuotaExceeded, with the time after which to ask again, and counts nothing."""

        quota = ""

        def count(session: Session) -> None:
            nonlocal quota
            now = self._now()
            row = _row(session, key, now)
            quota = metrics.TOKENS
            _check_tokens(key.quotas, row, now)
            quota = metrics.REQUESTS
            _take_request(key.quotas, row, now)

        try:
            await self._database.write(count)
        except QuotaExceeded:
            metrics.quota_used_up(quota)
            raise

    async def charge(self, key: Key, tokens: int) -> None:
        """Counts the tokens of an answer."""

        def count(session: Session) -> None:
            _row(session, key, self._now()).tokens += tokens

        await self._database.write(count)

    async def all_today(self) -> dict[str, int]:
        """The tokens that keys have used today, by their ids; those that used none may be missing."""

        def look(session: Session) -> dict[str, int]:
            rows = select(UsageRow).where(UsageRow.day == self._now().date())
            return {row.key_id: row.tokens for row in session.scalars(rows)}

        return await self._database.read(look)


def _row(session: Session, key: Key, now: datetime) -> UsageRow:
    """The key's row, of today."""
    row = session.get(UsageRow, key.id)
    if row is None:
        full = float(key.quotas.requests_per_minute or 0)
        row = UsageRow(key_id=key.id, allowance=full, counted=now, day=now.date(), tokens=0)
        session.add(row)
    if row.day < now.date():
        row.day, row.tokens = now.date(), 0
    return row


def _check_tokens(quotas: Quotas, row: UsageRow, now: datetime) -> None:
    most = quotas.tokens_per_day
    if most is None or row.tokens < most:
        return
    midnight = datetime.combine(row.day + timedelta(days=1), time(), UTC)
    raise QuotaExceeded(
        f"this key has used its {most:,} tokens of today (UTC)", max(1.0, (midnight - now).total_seconds())
    )


def _take_request(quotas: Quotas, row: UsageRow, now: datetime) -> None:
    most = quotas.requests_per_minute
    if most is None:
        return
    rate = most / 60
    gone = max(0.0, (now - row.counted).total_seconds())  # clocks of gateways differ a little
    allowance = min(float(most), row.allowance + gone * rate)
    if allowance < 1:
        raise QuotaExceeded(f"this key may make {most:,} requests a minute", (1 - allowance) / rate)
    row.allowance, row.counted = allowance - 1, max(now, row.counted)

"""Keys and what they may use, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from services.database.database import Database
from services.database.settings import DatabaseSettings
from services.errors import InvalidField, NotFound, QuotaExceeded
from services.keys.database.schema import MIGRATIONS
from services.keys.database.tables import Base
from services.keys.gatekeeper import DEV, Gatekeeper, KeyRefused
from services.keys.key import Quotas, digest_of
from services.keys.keyring import Keyring
from services.keys.usage import Usage

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass
class Time:
    """A clock that a test moves."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Gate:
    """One gateway's view of the keys."""

    database: Database
    time: Time
    keyring: Keyring
    usage: Usage
    keeper: Gatekeeper


def gate(database: Database, time: Time, seconds: float = 0, *, accepts_dev: bool = False) -> Gate:
    keyring, usage = Keyring(database), Usage(database, time)
    keeper = Gatekeeper(
        keyring, usage, accepts_dev=accepts_dev, seconds=seconds, now=lambda: time.now.timestamp()
    )
    return Gate(database, time, keyring, usage, keeper)


@pytest.fixture
async def keys(database_url: str) -> AsyncIterator[Gate]:
    """An empty database with the tables of keys."""
    database = Database(DatabaseSettings(database_url))
    await database.upgrade(MIGRATIONS)
    yield gate(database, Time())
    await database.close()


async def test_the_migrations_make_the_tables_that_the_code_knows(keys: Gate, database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        options = {"version_table": MIGRATIONS.version_table, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []
        command.downgrade(MIGRATIONS.config(connection), "base")
        assert engine.dialect.get_table_names(connection) == [MIGRATIONS.version_table]
    engine.dispose()


async def test_a_key_opens_until_it_is_revoked_and_is_kept_as_a_digest_only(keys: Gate) -> None:
    made, secret = await keys.keyring.create("ann", "notebook", Quotas())
    assert await keys.keeper.admit(secret, from_here=False) == made
    for wrong in ("", "dev", secret[:-1], secret + "x", made.prefix, made.id):
        with pytest.raises(KeyRefused):
            await keys.keeper.admit(wrong, from_here=True)
    rows = await keys.database.read(lambda session: session.execute(text("SELECT * FROM api_keys")).all())
    assert secret not in str(rows)
    assert digest_of(secret) in rows[0]
    assert (await keys.keyring.revoke(made.prefix)).revoked is not None
    with pytest.raises(KeyRefused):
        await keys.keeper.admit(secret, from_here=True)
    assert (await keys.keyring.all())[0].id == made.id


async def test_a_key_is_revoked_by_what_names_it_alone(keys: Gate) -> None:
    first, _ = await keys.keyring.create("ann", "notebook", Quotas())
    second, _ = await keys.keyring.create("bob", "notebook", Quotas())
    with pytest.raises(InvalidField, match="names 2 keys"):
        await keys.keyring.revoke("notebook")
    await keys.keyring.revoke(first.id)
    assert (await keys.keyring.revoke("notebook")).id == second.id, "the other one is revoked already"
    with pytest.raises(NotFound):
        await keys.keyring.revoke("")


@pytest.mark.parametrize(
    ("owner", "name", "quotas", "field"),
    [
        ("", "", Quotas(), "owner"),
        ("an owner", "", Quotas(), "owner"),
        ("a" * 201, "", Quotas(), "owner"),
        ("ann", "a\nb", Quotas(), "name"),
        ("ann", "", Quotas(requests_per_minute=0), "requests_per_minute"),
        ("ann", "", Quotas(tokens_per_day=2**31), "tokens_per_day"),
    ],
)
async def test_a_key_that_cannot_be_is_refused(owner: str, name: str, quotas: Quotas, field: str) -> None:
    database = Database(DatabaseSettings("sqlite:////nonexistent/never-opened.db"))
    with pytest.raises(InvalidField) as refused:
        await Keyring(database).create(owner, name, quotas)
    assert refused.value.field == field


async def test_a_minutes_requests_may_come_at_once_and_come_back_steadily(keys: Gate) -> None:
    _, secret = await keys.keyring.create("ann", "", Quotas(requests_per_minute=30))
    for _ in range(30):
        await keys.keeper.admit(secret, from_here=False)
    with pytest.raises(QuotaExceeded) as refused:
        await keys.keeper.admit(secret, from_here=False)
    assert refused.value.retry_after == pytest.approx(2.0)
    keys.time.passes(2)
    await keys.keeper.admit(secret, from_here=False)
    with pytest.raises(QuotaExceeded):
        await keys.keeper.admit(secret, from_here=False)


async def test_gateways_count_together_and_at_the_same_time(keys: Gate) -> None:
    _, secret = await keys.keyring.create("ann", "", Quotas(requests_per_minute=10))
    other = gate(keys.database, keys.time)
    asked = [each.keeper.admit(secret, from_here=False) for each in (keys, other) * 8]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(answer, QuotaExceeded) for answer in answers) == 6
    assert sum(isinstance(answer, Exception) for answer in answers) == 6


async def test_the_days_tokens_are_counted_after_the_fact_until_midnight(keys: Gate) -> None:
    made, secret = await keys.keyring.create("ann", "", Quotas(tokens_per_day=100))
    key = await keys.keeper.admit(secret, from_here=False)
    await keys.keeper.charge(key, 99)
    await keys.keeper.admit(secret, from_here=False)
    await keys.keeper.charge(key, 500)
    assert await keys.usage.all_today() == {made.id: 599}
    with pytest.raises(QuotaExceeded, match="100 tokens of today") as refused:
        await keys.keeper.admit(secret, from_here=False)
    assert refused.value.retry_after == 12 * 3600
    keys.time.passes(12 * 3600)
    await keys.keeper.admit(secret, from_here=False)
    assert await keys.usage.all_today() == {made.id: 0}


async def test_a_known_key_is_trusted_for_a_while(keys: Gate) -> None:
    quick = gate(keys.database, keys.time, seconds=2)
    _, secret = await keys.keyring.create("ann", "", Quotas())
    await quick.keeper.admit(secret, from_here=False)
    await keys.keyring.revoke((await keys.keyring.all())[0].id)
    keys.time.passes(1.9)
    await quick.keeper.admit(secret, from_here=False)
    keys.time.passes(0.2)
    with pytest.raises(KeyRefused):
        await quick.keeper.admit(secret, from_here=False)


async def test_the_key_dev_opens_only_from_here_and_where_it_is_allowed(keys: Gate) -> None:
    open_to_dev = gate(keys.database, keys.time, accepts_dev=True)
    key = await open_to_dev.keeper.admit(DEV, from_here=True)
    assert key.owner == ""
    await open_to_dev.keeper.charge(key, 10)
    for keeper, from_here in ((open_to_dev.keeper, False), (keys.keeper, True)):
        with pytest.raises(KeyRefused):
            await keeper.admit(DEV, from_here=from_here)

"""Claims about `hearth` and the gateway as clients of servers that ask for certificates and keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.cli.clients.health import is_serving
from services.cli.clients.inference import InferenceClient
from services.gateway.clients.services import connect
from services.gateway.settings import GatewaySettings
from services.keys.book import opened as book_of
from services.keys.key import Quotas
from services.keys.settings import AccessSettings, KeysSettings
from services.rpc.channel import RpcFailure
from services.rpc.tls import TlsSettings
from tests.keys.test_access import served
from tests.rpc.authority import HERE, Authority


def told(monkeypatch: pytest.MonkeyPatch, tls: TlsSettings, key: str = "") -> None:
    """Puts the settings where `hearth` reads them."""
    for name, value in tls.model_dump(exclude_none=True).items():
        monkeypatch.setenv(f"HEARTH_TLS_{name.upper()}", str(value))
    monkeypatch.setenv("HEARTH_KEY", key)


async def test_hearth_shows_its_certificate_and_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, keys = Authority(tmp_path / "tls"), KeysSettings(data_dir=tmp_path)
    async with book_of(keys) as book:
        _, secret = await book.keyring.create("ann", "", Quotas())
    access = AccessSettings(database_url=keys.sql, seconds=0)
    async with served(access, authority.settings("inference", *HERE)) as server:
        address = f"localhost:{server.port}"
        assert not await is_serving(address)
        told(monkeypatch, authority.settings("me"))
        assert await is_serving(address)
        async with InferenceClient(address) as client:
            with pytest.raises(RpcFailure, match="UNAUTHENTICATED"):
                await client.models()
        told(monkeypatch, authority.settings("me"), secret)
        async with InferenceClient(address) as client:
            assert [model.id for model in await client.models()] == ["ann"]


async def test_the_gateway_reaches_the_services_by_its_certificate_alone(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    access = AccessSettings(trusted=frozenset({"gateway"}))
    async with served(access, authority.settings("inference", *HERE)) as server:
        for tls, serves in (
            (authority.settings("gateway"), True),
            (TlsSettings(authority=authority.file), False),
            (TlsSettings(), False),
        ):
            services = connect(GatewaySettings(inference=server.address, tls=tls))
            assert (await services.serving())["inference"] is serves
            await services.close()

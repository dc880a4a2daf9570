"""Several replicas of inference under mTLS: called by clients that balance themselves, and by people through Envoy."""

from __future__ import annotations

import asyncio
import http.client
import ssl
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import inference_service_pb2_grpc as rpc
from services.keys.book import opened as book_of
from services.keys.key import Quotas
from services.keys.settings import KeysSettings
from services.rpc.calls import OWNER_KEY
from services.rpc.channel import RpcFailure, connect
from services.rpc.tls import TlsSettings
from tests.mesh.envoy import Envoy
from tests.mesh.replicas import GENERATE, Load, Replica, replaced_one_by_one, running, shares
from tests.rpc.authority import HERE, Authority

pytestmark = pytest.mark.platform
REPLICAS = 3
STREAMS = 150
CALLERS = 4
LEAVE_SECONDS = 6
"""Longer than Envoy needs to notice that one drains: two health checks, two seconds apart."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Its folder holds what Envoy mounts as /etc/envoy/tls."""
    authority = Authority(tmp_path_factory.mktemp("tls"))
    assert authority.file.exists()
    authority.issue("edge", *HERE)
    authority.issue("envoy")
    authority.issue("gateway")
    return authority


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeysSettings:
    return KeysSettings(data_dir=tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def secret(keys: KeysSettings) -> str:
    """A key of ann's."""

    async def made() -> str:
        async with book_of(keys) as book:
            return (await book.keyring.create("ann", "", Quotas()))[1]

    return asyncio.run(made())


@pytest.fixture(scope="module")
def replicas(
    authority: Authority, keys: KeysSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Replica]]:
    certificate, key = authority.issue("inference", *HERE)
    yield from running(
        tmp_path_factory.mktemp("replicas"),
        REPLICAS,
        HEARTH_TLS_CERTIFICATE=str(certificate),
        HEARTH_TLS_KEY=str(key),
        HEARTH_TLS_AUTHORITY=str(authority.file),
        HEARTH_KEYS_DATABASE_URL=keys.sql,
        HEARTH_KEYS_TRUSTED='["gateway"]',
        HEARTH_LEAVE_SECONDS=str(LEAVE_SECONDS),
        HEARTH_INFERENCE_DRAIN_SECONDS="30",
    )


@pytest.fixture
def gateway(authority: Authority) -> TlsSettings:
    """What the gateway shows; the name is needed because the target is several addresses."""
    folder = authority.folder
    return TlsSettings(
        certificate=folder / "gateway.pem",
        key=folder / "gateway.key",
        authority=authority.file,
        server_name="inference",
    )


@asynccontextmanager
async def balanced(replicas: list[Replica], tls: TlsSettings) -> AsyncIterator[grpc.aio.Channel]:
    target = f"ipv4:{','.join(replica.address for replica in replicas)}"
    async with connect(target, tls=tls, health="hearth.v1.InferenceService") as channel:
        await ready(channel, replicas)
        yield channel


async def ready(channel: grpc.aio.Channel, replicas: list[Replica]) -> None:
    """Returns once every replica is called."""
    load, before = Load(channel), {replica.port: replica.generated() for replica in replicas}
    while any(replica.generated() == before[replica.port] for replica in replicas):
        await asyncio.gather(*map(load.generate, range(REPLICAS)))


async def test_replicas_share_the_load_of_a_client_within_15_percent(
    replicas: list[Replica], gateway: TlsSettings
) -> None:
    async with balanced(replicas, gateway) as channel:
        before = {replica.port: replica.generated() for replica in replicas}
        await asyncio.gather(*map(Load(channel).generate, range(STREAMS)))
        assert shares(replicas, before) == pytest.approx([1.0] * REPLICAS, abs=0.15)


async def test_only_a_certificate_of_the_authority_that_is_trusted_is_served(
    replicas: list[Replica], authority: Authority, tmp_path: Path
) -> None:
    stranger_certificate, stranger_key = Authority(tmp_path).issue("gateway")
    stranger = TlsSettings(certificate=stranger_certificate, key=stranger_key, authority=authority.file)
    expired = authority.settings("late", expired=True)
    for tls in (None, TlsSettings(authority=authority.file), stranger, expired):
        async with connect(replicas[0].address, tls=tls) as channel:
            with pytest.raises(RpcFailure, match="UNAVAILABLE"):
                await Load(channel).generate(1)
    async with connect(replicas[0].address, tls=authority.settings("somebody")) as channel:
        with pytest.raises(RpcFailure, match="UNAUTHENTICATED"):
            await Load(channel).generate(1)


@pytest.fixture(scope="module")
def envoy(replicas: list[Replica], authority: Authority) -> Iterator[Envoy]:
    with Envoy({"inference": [replica.address for replica in replicas]}, authority.folder) as envoy:
        yield envoy


@pytest.fixture
def person(authority: Authority) -> TlsSettings:
    """People have no certificate, but a key."""
    return TlsSettings(authority=authority.file)


async def test_behind_envoy_one_connections_calls_are_shared_within_15_percent(
    envoy: Envoy, replicas: list[Replica], person: TlsSettings, secret: str
) -> None:
    async with connect(envoy.address, tls=person, key=secret) as channel:
        await ready(channel, replicas)
        before = {replica.port: replica.generated() for replica in replicas}
        await asyncio.gather(*map(Load(channel).generate, range(STREAMS)))
        assert shares(replicas, before) == pytest.approx([1.0] * REPLICAS, abs=0.15)


async def test_behind_envoy_nobody_without_a_key_is_served_and_nobody_speaks_for_another(
    envoy: Envoy, person: TlsSettings, secret: str
) -> None:
    for key in ("", "hearth-guessed"):
        async with connect(envoy.address, tls=person, key=key) as channel:
            with pytest.raises(RpcFailure, match="UNAUTHENTICATED"):
                await Load(channel).generate(1)
    async with connect(envoy.address, tls=person, key=secret) as channel:
        stub: rpc.InferenceServiceAsyncStub = rpc.InferenceServiceStub(channel)
        # The services would refuse another's name: it is gone before it reaches them.
        assert await stub.ListModels(pb.ListModelsRequest(), metadata=((OWNER_KEY, "bob"),))


def test_a_page_calls_through_envoy_and_reads_why_a_call_failed(
    envoy: Envoy, authority: Authority, secret: str
) -> None:
    page = "https://hearth.example"
    asked = {"origin": page, "access-control-request-method": "POST"}
    allowed = _web(envoy, authority, "OPTIONS", asked | {"access-control-request-headers": "x-grpc-web"})
    assert allowed.headers["access-control-allow-origin"] == page
    called = {"origin": page, "content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
    failed = _web(envoy, authority, "POST", called, _frame(pb.GenerateRequest(model="none")))
    assert failed.headers["grpc-status"] == str(grpc.StatusCode.UNAUTHENTICATED.value[0])
    assert "grpc-status-details-bin" in failed.headers["access-control-expose-headers"]
    assert failed.headers["grpc-status-details-bin"]
    called["authorization"] = f"Bearer {secret}"
    answered = _web(envoy, authority, "POST", called, _frame(pb.GenerateRequest(sampling={"max_tokens": 2})))
    assert (answered.status, answered.headers["access-control-allow-origin"]) == (200, page)
    strange = _web(envoy, authority, "OPTIONS", asked | {"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in strange.headers


async def test_a_rolling_restart_drops_and_refuses_nothing(
    replicas: list[Replica], gateway: TlsSettings
) -> None:
    async with balanced(replicas, gateway) as channel:
        load = Load(channel)
        async with load.of(CALLERS):
            await replaced_one_by_one(replicas, load)
    assert load.failures == []
    assert load.done["stream"] > CALLERS


async def test_behind_envoy_a_rolling_restart_drops_and_refuses_nothing(
    envoy: Envoy, replicas: list[Replica], person: TlsSettings, secret: str
) -> None:
    async with connect(envoy.address, tls=person, key=secret) as channel:
        load = Load(channel)
        async with load.of(CALLERS):
            await replaced_one_by_one(replicas, load)
    assert load.failures == [], envoy.log
    assert load.done["stream"] > CALLERS


def _web(
    envoy: Envoy, authority: Authority, method: str, headers: dict[str, str], body: bytes = b""
) -> http.client.HTTPResponse:
    context = ssl.create_default_context(cafile=str(authority.file))
    connection = http.client.HTTPSConnection("127.0.0.1", envoy.port, context=context, timeout=20)
    connection.request(method, GENERATE, body, headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def _frame(request: pb.GenerateRequest) -> bytes:
    """A message as gRPC-Web sends it."""
    data = request.SerializeToString()
    return struct.pack(">BI", 0, len(data)) + data

"""Claims about who can speak with a server over TLS."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic import ValidationError

from hearth.v1 import inference_service_pb2 as pb
from services.rpc import channel as channels
from services.rpc.channel import RpcFailure, connect, rpc_failures
from services.rpc.server import RunningServer
from services.rpc.tls import SYSTEM, TlsSettings
from tests.rpc.authority import HERE, Authority
from tests.rpc.harness import DELTA, Service, Stuck, start, stub


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "good")


@asynccontextmanager
async def served(tls: TlsSettings, service: Service | None = None) -> AsyncIterator[RunningServer]:
    server = await start(service or Service(), tls=tls)
    try:
        yield server
    finally:
        server.begin_drain()
        server.begin_drain()
        await server.stopped()


async def asked(server: RunningServer, tls: TlsSettings | None) -> None:
    """One call; raises RpcFailure."""
    async with connect(server.address, tls=tls) as channel:
        with rpc_failures():
            assert await stub(channel).Generate(pb.GenerateRequest()).read() == DELTA


async def refused(server: RunningServer, tls: TlsSettings | None) -> None:
    with pytest.raises(RpcFailure) as failed:
        await asked(server, tls)
    assert failed.value.code is grpc.StatusCode.UNAVAILABLE
    assert failed.value.reason is None  # no word of Hearth's: the call has not reached it


async def test_with_an_authority_only_clients_with_its_certificates_are_let_in(
    authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other")
    stranger_certificate, stranger_key = other.issue("gateway")
    async with served(authority.settings("inference", *HERE)) as server:
        await asked(server, authority.settings("gateway"))
        await refused(server, None)
        await refused(server, TlsSettings(authority=authority.file))
        await refused(server, authority.settings("gateway", expired=True))
        await refused(
            server,
            TlsSettings(certificate=stranger_certificate, key=stranger_key, authority=authority.file),
        )
        await asked(server, authority.settings("gateway"))


async def test_without_an_authority_a_server_asks_clients_for_nothing(authority: Authority) -> None:
    certificate, key = authority.issue("inference", *HERE)
    async with served(TlsSettings(certificate=certificate, key=key)) as server:
        await asked(server, TlsSettings(authority=authority.file))
        await refused(server, None)


@pytest.mark.parametrize("flaw", ["expired", "another's", "of another authority"])
async def test_a_client_speaks_with_no_server_whose_certificate_is_bad(
    flaw: str, authority: Authority, tmp_path: Path
) -> None:
    signer = Authority(tmp_path / "other") if flaw == "of another authority" else authority
    names = ("elsewhere.example",) if flaw == "another's" else ("inference", *HERE)
    certificate, key = signer.issue(*names, expired=flaw == "expired")
    async with served(TlsSettings(certificate=certificate, key=key)) as server:
        await refused(server, TlsSettings(authority=authority.file))
        await refused(server, TlsSettings(authority=SYSTEM))


async def test_a_servers_name_can_be_given_where_it_is_reached_by_another(authority: Authority) -> None:
    async with served(authority.settings("inference")) as server:
        await refused(server, authority.settings("gateway"))
        await asked(server, authority.settings("gateway", server_name="inference"))


async def test_a_server_shows_a_renewed_certificate_without_a_restart(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hearth.rpc")
    expired = authority.settings("inference", *HERE, expired=True)
    stuck = Stuck()
    async with served(expired, Service(generate=stuck)) as server:
        await refused(server, authority.settings("gateway"))
        authority.issue("inference", *HERE)  # in the same files
        async with connect(server.address, tls=authority.settings("gateway")) as channel:
            call = stub(channel).Generate(pb.GenerateRequest())
            assert await call.read() == DELTA
            assert expired.certificate is not None
            expired.certificate.write_text("no certificate")
            stuck.go_on.set()
            await asked(server, authority.settings("gateway"))  # with the one before
            assert await call.read() == DELTA
    messages = [record.message for record in caplog.records if "certificate" in record.message]
    assert messages[0] == "the certificate was renewed"
    assert messages[1].startswith("the renewed certificate is of no use")


async def test_a_client_shows_a_renewed_certificate_and_running_calls_go_on(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "LOOK_SECONDS", 0.0)
    stuck = Stuck()
    tls = authority.settings("gateway")
    async with (
        served(authority.settings("inference", *HERE), Service(generate=stuck)) as server,
        connect(server.address, tls=tls) as channel,
    ):
        ask = stub(channel)
        call = ask.Generate(pb.GenerateRequest())
        assert await call.read() == DELTA
        authority.issue("gateway", expired=True)
        with pytest.raises(RpcFailure, match="UNAVAILABLE"), rpc_failures():
            await ask.Generate(pb.GenerateRequest()).read()
        authority.issue("gateway")
        await ask.ListModels(pb.ListModelsRequest())
        stuck.go_on.set()
        assert await call.read() == DELTA
        assert await call.code() is grpc.StatusCode.OK


async def test_probes_ask_a_port_without_tls_that_answers_health_checks_alone(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEARTH_HEALTH_PORT", "0")
    async with served(authority.settings("inference", *HERE)) as server:
        assert server.health_port is not None
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.health_port.port}") as channel:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            with pytest.raises(RpcFailure, match="UNIMPLEMENTED"), rpc_failures():
                await stub(channel).ListModels(pb.ListModelsRequest())


async def test_files_that_cannot_be_used_are_named_at_the_start(authority: Authority) -> None:
    certificate, _ = authority.issue("inference")
    _, key = authority.issue("another")
    with pytest.raises(SystemExit, match=r"Cannot speak TLS: .*inference.pem and .*another.key are not"):
        await start(Service(), tls=TlsSettings(certificate=certificate, key=key))
    with pytest.raises(SystemExit, match=r"Cannot speak TLS: .*No such file.*nowhere.pem"):
        await start(
            Service(), tls=authority.settings("it").model_copy(update={"authority": Path("nowhere.pem")})
        )
    with pytest.raises(SystemExit, match="system is for clients"):
        await start(Service(), tls=authority.settings("it").model_copy(update={"authority": SYSTEM}))
    with pytest.raises(OSError, match="holds no certificates"):
        connect("localhost:1", tls=TlsSettings(authority=key))
    with pytest.raises(ValidationError, match="belong together"):
        TlsSettings(certificate=certificate)

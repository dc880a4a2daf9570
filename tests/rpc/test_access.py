"""Claims about what a server learns of a caller, and what it lets through."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from hearth.v1 import inference_service_pb2 as pb
from services.errors import Reason, Unauthenticated
from services.rpc.access import Caller
from services.rpc.calls import OWNER_KEY, owner
from services.rpc.channel import RpcFailure, connect, rpc_failures
from services.rpc.server import RunningServer
from tests.rpc.authority import HERE, Authority
from tests.rpc.harness import DELTA, Service, Stuck, served, stub

EVE = ((OWNER_KEY, "eve"),)


@dataclass
class Admitted:
    owner: str
    seen: list[Any] = field(default_factory=list)
    settled: int = 0

    def see(self, answer: Any) -> None:
        self.seen.append(answer)

    async def settle(self) -> None:
        self.settled += 1


@dataclass
class Knows:
    """Knows one key, that of ann."""

    callers: list[Caller] = field(default_factory=list)
    admissions: list[Admitted] = field(default_factory=list)

    async def admit(self, caller: Caller, request: Any) -> Admitted:
        self.callers.append(caller)
        if caller.key != "good":
            raise Unauthenticated
        self.admissions.append(Admitted("ann"))
        return self.admissions[-1]


class Owners:
    """A service that remembers on whose behalf it was called."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def list_models(self, request: Any, context: Any) -> pb.ListModelsResponse:
        self.seen.append(owner(context))
        return pb.ListModelsResponse()

    async def generate(self, request: Any, context: Any) -> AsyncIterator[pb.GenerateResponse]:
        self.seen.append(owner(context))
        yield DELTA


def keyed(server: RunningServer, key: str) -> grpc.aio.Channel:
    return connect(server.address, key=key)


async def test_a_call_without_a_valid_key_reaches_no_method_and_health_answers_all_the_same() -> None:
    owners, knows = Owners(), Knows()
    async with served(Service(owners.list_models, owners.generate), authenticator=knows) as (_, channel):
        for metadata in ((), (("authorization", "Bearer bad"),), (("authorization", "Basic good"),)):
            with pytest.raises(RpcFailure) as failed, rpc_failures():
                await stub(channel).ListModels(pb.ListModelsRequest(), metadata=metadata)
            assert (failed.value.code, failed.value.reason) == (
                grpc.StatusCode.UNAUTHENTICATED,
                Reason.KEY_REFUSED,
            )
            with pytest.raises(RpcFailure, match="UNAUTHENTICATED"), rpc_failures():
                await stub(channel).Generate(pb.GenerateRequest(), metadata=metadata).read()
        health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert owners.seen == []


async def test_the_owner_is_the_one_that_was_proved_not_the_one_that_was_claimed() -> None:
    owners, knows = Owners(), Knows()
    async with (
        served(Service(owners.list_models, owners.generate), authenticator=knows) as (server, _),
        keyed(server, "good") as channel,
    ):
        await stub(channel).ListModels(pb.ListModelsRequest(), metadata=EVE)
        assert [a async for a in stub(channel).Generate(pb.GenerateRequest(), metadata=EVE)] == [DELTA]
    assert owners.seen == ["ann", "ann"]
    assert [caller.owner for caller in knows.callers] == ["eve", "eve"]
    assert all(caller.from_here and not caller.names for caller in knows.callers)


async def test_every_answer_is_seen_and_settled_once_even_where_the_caller_leaves() -> None:
    stuck, knows = Stuck(), Knows()
    async with (
        served(Service(generate=stuck), authenticator=knows) as (server, _),
        keyed(server, "good") as channel,
    ):
        await stub(channel).ListModels(pb.ListModelsRequest())
        call = stub(channel).Generate(pb.GenerateRequest())
        assert await call.read() == DELTA
        call.cancel()
        await stuck.over.wait()
    one, cancelled = knows.admissions
    assert (one.seen, one.settled) == ([pb.ListModelsResponse()], 1)
    assert (cancelled.seen, cancelled.settled) == ([DELTA], 1)


async def test_a_certificate_tells_the_callers_names(tmp_path: Path) -> None:
    authority, knows = Authority(tmp_path), Knows()
    tls = authority.settings("inference", *HERE)
    async with served(Service(), authenticator=knows, tls=tls) as (server, _):
        client = authority.settings("gateway", "gateway.hearth.svc")
        async with connect(server.address, tls=client, key="good") as channel:
            await stub(channel).ListModels(pb.ListModelsRequest())
    assert knows.callers[0].names == {"gateway", "gateway.hearth.svc"}

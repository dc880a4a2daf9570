"""Claims about the client's side."""

from __future__ import annotations

import time
from typing import Any

import grpc
import pytest

from hearth.v1 import inference_service_pb2 as pb
from services.errors import ModelLoading
from services.rpc.channel import RpcFailure, connect, rpc_failures
from tests.rpc.harness import Service, Stuck, served, stub


class Remembering:
    """Answers ListModels, and remembers how long each call had."""

    def __init__(self, failures: int = 0) -> None:
        self.remaining: list[float] = []
        self.failures = failures

    async def __call__(self, request: Any, context: Any) -> pb.ListModelsResponse:
        self.remaining.append(context.time_remaining())
        if len(self.remaining) <= self.failures:
            raise ModelLoading("not yet")
        return pb.ListModelsResponse()


async def test_a_call_has_its_methods_deadline_from_the_service_config() -> None:
    remembering = Remembering()
    async with served(Service(remembering)) as (_, channel):
        await stub(channel).ListModels(pb.ListModelsRequest())
    assert 6 < remembering.remaining[0] < 11


async def test_a_callers_own_deadline_counts_in_full() -> None:
    remembering = Remembering()
    async with served(Service(remembering)) as (server, channel):
        await stub(channel).ListModels(pb.ListModelsRequest(), timeout=5)
        await stub(channel).ListModels(pb.ListModelsRequest(), timeout=50)
        async with connect(server.address, deadline=30) as patient:
            await stub(patient).ListModels(pb.ListModelsRequest())
    for seconds, remaining in zip([5, 50, 30], remembering.remaining, strict=True):
        assert seconds / 2 < remaining < seconds + 1


async def test_a_deadline_keeps_the_time_that_it_names() -> None:
    stuck = Stuck()
    async with served(Service(generate=stuck)) as (server, _), connect(server.address, deadline=0.5) as hasty:
        started = time.monotonic()
        with pytest.raises(RpcFailure, match="DEADLINE_EXCEEDED"), rpc_failures():
            async for _ in stub(hasty).Generate(pb.GenerateRequest()):
                pass
        assert stuck.running.is_set()
        assert time.monotonic() - started >= 0.45


async def test_a_call_that_a_server_refused_before_it_began_is_made_again() -> None:
    remembering = Remembering(failures=2)
    async with served(Service(remembering)) as (_, channel):
        assert await stub(channel).ListModels(pb.ListModelsRequest()) == pb.ListModelsResponse()
    assert len(remembering.remaining) == 3


async def test_calls_spread_over_all_addresses() -> None:
    first, second = Remembering(), Remembering()
    async with (
        served(Service(first)) as (one, _),
        served(Service(second)) as (two, _),
        connect(f"ipv4:{one.address},{two.address}") as both,
    ):
        for _ in range(20):
            await stub(both).ListModels(pb.ListModelsRequest())
    assert min(len(first.remaining), len(second.remaining)) >= 5


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with served(Service()) as (server, _):
        pass
    async with connect(server.address) as channel:
        with pytest.raises(RpcFailure) as failed, rpc_failures():
            async for _ in stub(channel).Generate(pb.GenerateRequest()):
                pass
    assert (failed.value.code, failed.value.reason) == (grpc.StatusCode.UNAVAILABLE, None)

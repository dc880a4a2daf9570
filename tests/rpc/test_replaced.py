"""Claims about several servers of which one after the other is replaced, while calls go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from hearth.v1 import inference_service_pb2 as pb
from services.rpc.channel import RpcFailure, connect, rpc_failures
from services.rpc.server import RunningServer
from tests.rpc.harness import DELTA, SERVICE, Service, Stuck, served, start, stub

DELTAS = 5
LEAVE_SECONDS = 0.3


@dataclass
class Counting:
    """Streams a few deltas, and counts the streams that have ended well."""

    done: int = 0

    async def __call__(self, request: Any, context: Any) -> AsyncIterator[pb.GenerateResponse]:
        for _ in range(DELTAS):
            yield DELTA
        self.done += 1


async def test_a_server_that_is_leaving_still_takes_calls_but_says_that_it_will_not() -> None:
    async with served(Service(), leave_seconds=3600) as (server, channel):
        server.begin_drain()
        async with connect(f"ipv4:{server.address},127.0.0.1:9") as balancing:
            with pytest.raises(RpcFailure, match="UNAVAILABLE"), rpc_failures():
                await stub(balancing).Generate(pb.GenerateRequest()).read()
        assert await stub(channel).Generate(pb.GenerateRequest()).read() == DELTA


async def test_a_server_that_loads_is_not_called_as_long_as_others_serve() -> None:
    serving, loading = Counting(), Counting()
    one, two = await start(Service(generate=serving)), await start(Service(generate=loading), serving=False)
    async with connect(f"ipv4:{one.address},{two.address}", health=SERVICE) as channel:
        for _ in range(20):
            assert len([answer async for answer in stub(channel).Generate(pb.GenerateRequest())]) == DELTAS
    assert (serving.done, loading.done) == (20, 0)
    for server in (one, two):
        await server.drain()


async def test_servers_replaced_one_by_one_under_load_drop_no_stream_and_refuse_no_call() -> None:
    counts = [Counting() for _ in range(3)]
    servers = [await start(Service(generate=each), leave_seconds=LEAVE_SECONDS) for each in counts]
    failures: list[RpcFailure] = []
    stopped = asyncio.Event()
    target = f"ipv4:{','.join(server.address for server in servers)}"

    async def calls(channel: Any) -> None:
        while not stopped.is_set():
            try:
                with rpc_failures():
                    events = [answer async for answer in stub(channel).Generate(pb.GenerateRequest())]
                assert len(events) == DELTAS
            except RpcFailure as failure:
                failures.append(failure)

    async with connect(target, health=SERVICE) as channel:
        callers = [asyncio.create_task(calls(channel)) for _ in range(8)]
        for number, server in enumerate(servers):
            await _until_called(counts[number], callers)
            servers[number] = await _replaced(server, counts[number])
            await _until_called(counts[number], callers)
        stopped.set()
        await asyncio.gather(*callers)
    assert failures == []
    for server in servers:
        await server.drain()


async def test_a_stream_outlives_the_leaving_of_its_server() -> None:
    stuck = Stuck()
    async with served(Service(generate=stuck), leave_seconds=0.01, drain_seconds=3600) as (server, channel):
        call = stub(channel).Generate(pb.GenerateRequest())
        assert await call.read() == DELTA
        server.begin_drain()
        draining = asyncio.create_task(server.stopped())
        stuck.go_on.set()
        assert await call.read() == DELTA
        await draining


async def _replaced(server: RunningServer, counting: Counting) -> RunningServer:
    port = server.port
    await server.drain()
    return await start(Service(generate=counting), port=port, leave_seconds=LEAVE_SECONDS)


async def _until_called(counting: Counting, callers: list[asyncio.Task[None]]) -> None:
    before = counting.done
    while counting.done < before + 3:
        done, _ = await asyncio.wait(callers, timeout=0)
        assert not done, [each.exception() for each in done]
        await asyncio.sleep(0)

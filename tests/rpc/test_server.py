"""Claims about a server's life: where it listens, what it says about itself, how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from hearth.v1 import inference_service_pb2 as pb
from services.errors import Reason
from services.rpc.channel import RpcFailure, rpc_failures
from tests.rpc.harness import DELTA, SERVICE, Service, Stuck, served, start, stub

PATIENCE = 20.0
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def health_of(channel: grpc.aio.Channel, service: str) -> int:
    health = health_pb2_grpc.HealthStub(channel)
    return (await health.Check(health_pb2.HealthCheckRequest(service=service))).status


async def refusal(channel: grpc.aio.Channel) -> RpcFailure:
    with pytest.raises(RpcFailure) as failed, rpc_failures():
        async for _ in stub(channel).Generate(pb.GenerateRequest()):
            pass
    return failed.value


async def test_port_0_takes_a_free_port() -> None:
    async with served(Service()) as (first, _), served(Service()) as (second, _):
        assert 0 < first.port != second.port > 0


async def test_a_taken_port_ends_with_a_message_that_says_what_to_do() -> None:
    async with served(Service()) as (server, _):
        with pytest.raises(SystemExit) as ended:
            await start(Service(), port=server.port, port_option="HEARTH_PORT")
    assert str(ended.value) == (
        f"Port {server.port} is taken by another program, perhaps a Hearth that already runs. "
        "Stop it, or choose another port with HEARTH_PORT."
    )


async def test_a_port_that_another_program_holds_on_all_interfaces_is_taken() -> None:
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SystemExit, match=f"Port {port} is taken"):
            await start(Service(), port=port)


async def test_an_address_that_is_not_here_is_named() -> None:
    with pytest.raises(SystemExit, match=r"Cannot listen on 203\.0\.113\.1, port 4567: .*--port"):
        await start(Service(), host="203.0.113.1", port=4567)


async def test_reflection_lists_the_services_and_gives_their_schema() -> None:
    async with served(Service()) as (_, channel):

        async def ask() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
            yield reflection_pb2.ServerReflectionRequest(list_services="")
            yield reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE)

        answers = [
            a async for a in reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(ask())
        ]
    names = {service.name for service in answers[0].list_services_response.service}
    assert names == {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    assert pb.DESCRIPTOR.serialized_pb in answers[1].file_descriptor_response.file_descriptor_proto


async def test_health_says_when_a_service_can_answer() -> None:
    async with served(Service(), serving=False) as (server, channel):
        assert await health_of(channel, "") == await health_of(channel, SERVICE) == NOT_SERVING
        await server.set_serving(SERVICE, True)
        assert await health_of(channel, SERVICE) == SERVING
        assert await health_of(channel, "") == NOT_SERVING
        with pytest.raises(RpcFailure, match="NOT_FOUND"), rpc_failures():
            await health_of(channel, "no.Service")


async def test_health_turns_not_serving_when_the_server_drains() -> None:
    stuck = Stuck()
    async with served(Service(generate=stuck), drain_seconds=3600) as (server, channel):
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        assert (await watch.read()).status == SERVING
        call = stub(channel).Generate(pb.GenerateRequest())
        await call.read()
        server.begin_drain()
        assert (await watch.read()).status == NOT_SERVING
        assert await health_of(channel, SERVICE) == await health_of(channel, "") == NOT_SERVING


async def test_a_draining_server_refuses_new_calls_and_lets_running_ones_finish() -> None:
    stuck = Stuck()
    async with served(Service(generate=stuck), drain_seconds=3600) as (server, channel):
        call = stub(channel).Generate(pb.GenerateRequest())
        assert await call.read() == DELTA
        server.begin_drain()
        failure = await refusal(channel)
        assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, Reason.MODEL_LOADING)
        assert failure.retry_after == 2
        stuck.go_on.set()
        assert await call.read() == DELTA
        assert await call.code() is grpc.StatusCode.OK
        await asyncio.wait_for(server.stopped(), PATIENCE)


async def test_calls_that_outlast_the_drain_are_told_to_call_again() -> None:
    stuck = Stuck()
    async with served(Service(generate=stuck), drain_seconds=0.1) as (server, channel):
        call = stub(channel).Generate(pb.GenerateRequest())
        assert await call.read() == DELTA
        await asyncio.wait_for(server.drain(), PATIENCE)
        with pytest.raises(RpcFailure) as failed, rpc_failures():
            await call.read()
        assert stuck.over.is_set()
    assert (failed.value.code, failed.value.reason) == (grpc.StatusCode.UNAVAILABLE, Reason.MODEL_LOADING)


async def test_an_idle_server_stops_at_once() -> None:
    async with served(Service(), drain_seconds=3600) as (server, _):
        await asyncio.wait_for(server.drain(), PATIENCE)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_one_signal_drains_and_a_second_one_stops_at_once(number: signal.Signals) -> None:
    stuck = Stuck()
    async with served(Service(generate=stuck), drain_seconds=3600) as (server, channel):
        server.handle_signals()
        call = stub(channel).Generate(pb.GenerateRequest())
        assert await call.read() == DELTA
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        assert (await watch.read()).status == SERVING
        os.kill(os.getpid(), number)
        assert (await watch.read()).status == NOT_SERVING
        assert (await refusal(channel)).reason is Reason.MODEL_LOADING
        assert not stuck.over.is_set()
        os.kill(os.getpid(), number)
        await asyncio.wait_for(server.stopped(), PATIENCE)
        assert stuck.over.is_set()

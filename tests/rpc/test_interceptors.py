"""Claims about what happens around a call."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import prompt_pb2
from services.errors import Reason
from services.rpc.calls import Deadlines
from services.rpc.channel import RpcFailure, rpc_failures
from services.rpc.logs import REQUEST_ID
from tests.rpc.harness import DELTA, SERVICE, Service, Stuck, raising, served, stub

GENERATE = f"/{SERVICE}/Generate"
PATIENCE = 20.0
"""Seconds after which something that should happen at once counts as not happening."""


def calls(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [dict(record.fields) for record in caplog.records if record.message == "call"]  # type: ignore[attr-defined]


async def drained(channel: grpc.aio.Channel) -> None:
    async for _ in stub(channel).Generate(pb.GenerateRequest()):
        pass


@pytest.fixture(autouse=True)
def _info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hearth.rpc")


async def test_the_callers_request_id_comes_back_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with served(Service()) as (_, channel):
        call = stub(channel).Generate(pb.GenerateRequest(model="m"), metadata=(("x-request-id", "abc-1"),))
        assert dict(await call.initial_metadata())["x-request-id"] == "abc-1"
        assert [response async for response in call] == [DELTA]
    (line,) = calls(caplog)
    assert line.pop("ms") >= 0
    assert line == {"method": GENERATE, "code": "OK", "request_id": "abc-1", "model": "m"}


@pytest.mark.parametrize("sent", [(), (("x-request-id", "not one {}"),), (("x-request-id", "x" * 129),)])
async def test_a_call_without_a_decent_request_id_gets_a_new_one(sent: Any) -> None:
    async with served(Service()) as (_, channel):
        call = stub(channel).ListModels(pb.ListModelsRequest(), metadata=sent)
        await call
        uuid.UUID(str(dict(await call.initial_metadata())["x-request-id"]))


async def test_lines_logged_within_a_call_know_its_request_id() -> None:
    seen = []

    async def list_models(request: Any, context: Any) -> pb.ListModelsResponse:
        seen.append(REQUEST_ID.get())
        return pb.ListModelsResponse()

    async with served(Service(list_models)) as (_, channel):
        for number in range(2):
            await stub(channel).ListModels(
                pb.ListModelsRequest(), metadata=(("x-request-id", f"id-{number}"),)
            )
    assert seen == ["id-0", "id-1"]


async def test_prompt_text_is_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    request = pb.GenerateRequest(prompt=prompt_pb2.Prompt(text="the secret"))
    async with served(Service()) as (_, channel):
        assert [response async for response in stub(channel).Generate(request)] == [DELTA]
    assert len(calls(caplog)) == 1
    assert "secret" not in caplog.text


@pytest.mark.parametrize("streaming", [False, True])
async def test_an_unforeseen_error_tells_the_caller_its_request_id_and_the_log_the_rest(
    streaming: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(raising(ValueError("/etc/internals"))) as (_, channel):
        failing = drained(channel) if streaming else stub(channel).ListModels(pb.ListModelsRequest())
        with pytest.raises(RpcFailure) as failed, rpc_failures():
            await failing
    failure = failed.value
    assert (failure.code, failure.reason) == (grpc.StatusCode.INTERNAL, Reason.INTERNAL)
    assert failure.message == f"internal error; the server's log has it under request id {failure.request_id}"
    (line,) = calls(caplog)
    assert (line["code"], line["request_id"]) == ("INTERNAL", failure.request_id)
    assert "ValueError: /etc/internals" in caplog.text


async def test_an_answer_of_the_wrong_type_is_an_internal_error() -> None:
    async def list_models(request: Any, context: Any) -> Any:
        return "not a message"

    async with served(Service(list_models)) as (_, channel):
        with pytest.raises(RpcFailure) as failed, rpc_failures():
            await stub(channel).ListModels(pb.ListModelsRequest())
    assert failed.value.reason is Reason.INTERNAL


async def test_cancelling_ends_the_generation(caplog: pytest.LogCaptureFixture) -> None:
    stuck = Stuck()
    async with served(Service(generate=stuck)) as (_, channel):
        call = stub(channel).Generate(pb.GenerateRequest())
        assert await call.read() == DELTA
        await stuck.running.wait()
        call.cancel()
        await asyncio.wait_for(stuck.over.wait(), PATIENCE)
    assert [line["code"] for line in calls(caplog)] == ["CANCELLED"]
    assert all(record.levelno <= logging.INFO for record in caplog.records if record.name == "hearth.rpc")


async def test_closing_the_channel_ends_the_generation() -> None:
    stuck = Stuck()
    async with served(Service(generate=stuck)) as (_, channel):
        call = stub(channel).Generate(pb.GenerateRequest())
        assert await call.read() == DELTA
        await channel.close()
        await asyncio.wait_for(stuck.over.wait(), PATIENCE)


async def test_the_callers_deadline_ends_the_generation(caplog: pytest.LogCaptureFixture) -> None:
    stuck = Stuck()
    async with served(Service(generate=stuck)) as (_, channel):
        with pytest.raises(RpcFailure) as failed, rpc_failures():
            async for _ in stub(channel).Generate(pb.GenerateRequest(), timeout=0.2):
                pass
        await asyncio.wait_for(stuck.over.wait(), PATIENCE)
    assert failed.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert [line["code"] for line in calls(caplog)] == ["DEADLINE_EXCEEDED"]


@pytest.mark.parametrize("deadlines", [Deadlines(0.1), Deadlines(600, {GENERATE: 0.1})])
async def test_the_servers_limit_ends_a_call_that_sets_no_deadline(deadlines: Deadlines) -> None:
    stuck = Stuck()
    async with (
        served(Service(generate=stuck), deadlines=deadlines) as (server, _),
        grpc.aio.insecure_channel(server.address) as plain,
    ):
        with pytest.raises(RpcFailure) as failed, rpc_failures():
            async for _ in stub(plain).Generate(pb.GenerateRequest()):
                pass
        await asyncio.wait_for(stuck.over.wait(), PATIENCE)
    assert failed.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert failed.value.reason is Reason.DEADLINE_UNREACHABLE
    assert failed.value.message.startswith("the call was ended at its deadline, after 0.1")


async def test_a_timeout_within_the_handler_is_not_the_calls_deadline() -> None:
    async with served(raising(TimeoutError())) as (_, channel):
        with pytest.raises(RpcFailure) as failed, rpc_failures():
            await stub(channel).ListModels(pb.ListModelsRequest())
    assert failed.value.reason is Reason.INTERNAL


@pytest.mark.parametrize(
    "data", [b"\xff\xff\xff", b"\x12\x02\xc3\x28", b"\x0a\x05ab"], ids=["tag", "utf-8", "cut"]
)
async def test_malformed_bytes_are_refused_and_the_server_serves_on(data: bytes) -> None:
    async with served(Service()) as (_, channel):
        for method in ("ListModels", "Generate"):
            raw = channel.unary_unary(f"/{SERVICE}/{method}", response_deserializer=bytes)
            with pytest.raises(RpcFailure) as failed, rpc_failures():
                await raw(data)
            assert (failed.value.code, failed.value.field) == (grpc.StatusCode.INVALID_ARGUMENT, "request")
        assert await stub(channel).ListModels(pb.ListModelsRequest()) == pb.ListModelsResponse()


async def test_a_request_nested_too_deep_is_refused() -> None:
    data = b""
    for _ in range(200):  # Condition.negation in Condition
        data = b"\x22" + _varint(len(data)) + data
    data = b"\x0a" + _varint(len(data)) + data  # Scope.when
    data = b"\x12" + _varint(len(data)) + data  # Steering.scopes
    data = b"\x1a" + _varint(len(data)) + data  # GenerateRequest.steering
    async with served(Service()) as (_, channel):
        with pytest.raises(RpcFailure) as failed, rpc_failures():
            await channel.unary_unary(GENERATE, response_deserializer=bytes)(data)
    assert (failed.value.code, failed.value.field) == (grpc.StatusCode.INVALID_ARGUMENT, "request")


async def test_an_oversized_request_is_refused_and_the_server_serves_on() -> None:
    request = pb.GenerateRequest(prompt=prompt_pb2.Prompt(text="x" * (5 << 20)))
    async with served(Service()) as (_, channel):
        with pytest.raises(RpcFailure) as failed, rpc_failures():
            async for _ in stub(channel).Generate(request):
                pass
        assert failed.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert [response async for response in stub(channel).Generate(pb.GenerateRequest())] == [DELTA]


async def test_what_is_not_there_is_unimplemented() -> None:
    async with served(Service()) as (_, channel):
        for call in (
            channel.unary_unary(f"/{SERVICE}/Nonsense")(b""),
            channel.unary_unary("/no.Service/Method")(b""),
            stub(channel).Tokenize(pb.TokenizeRequest()),
        ):
            with pytest.raises(RpcFailure) as failed, rpc_failures():
                await call
            assert failed.value.code is grpc.StatusCode.UNIMPLEMENTED


async def test_250_streams_of_which_a_third_is_cancelled_leave_nothing_behind() -> None:
    started = 0
    all_started, go_on = asyncio.Event(), asyncio.Event()

    async def generate(request: Any, context: Any) -> AsyncIterator[pb.GenerateResponse]:
        nonlocal started
        yield DELTA
        started += 1
        if started == 250:
            all_started.set()
        await go_on.wait()
        yield DELTA

    async def consume(call: Any) -> int:
        return len([response async for response in call])

    async with served(Service(generate=generate)) as (server, channel):
        streams = [stub(channel).Generate(pb.GenerateRequest()) for _ in range(250)]
        counts = [asyncio.create_task(consume(stream)) for stream in streams]
        await asyncio.wait_for(all_started.wait(), PATIENCE)
        for stream in streams[::3]:
            stream.cancel()
        go_on.set()
        results = await asyncio.gather(*counts, return_exceptions=True)
        assert [result for number, result in enumerate(results) if number % 3] == [2] * 166
        await asyncio.wait_for(server._calls.idle(), PATIENCE)
        assert server._calls.running == 0


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])

"""The asynchronous client does what the other does, and its calls: deadlines, metadata, retries, cancellation."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import grpc
import pytest

from hearth.v1 import inference_service_pb2 as pb
from hearth_client import (
    AsyncClient,
    Client,
    DeadlineExceeded,
    Feature,
    HearthError,
    Mesh,
    RateLimited,
    Variant,
    async_chat,
    async_client,
    chat,
    client,
)
from services.errors import HearthError as ServiceError
from services.errors import QueueFull, Reason
from services.rpc.status import STATUS_CODES
from tests.clients.test_python import HELLO
from tests.rpc.harness import DELTA, Service, Stuck, error_of, raising, served

KINDS = {
    grpc.StatusCode.INVALID_ARGUMENT: "InvalidRequest",
    grpc.StatusCode.OUT_OF_RANGE: "InvalidRequest",
    grpc.StatusCode.NOT_FOUND: "NotFound",
    grpc.StatusCode.ABORTED: "Conflict",
    grpc.StatusCode.ALREADY_EXISTS: "Conflict",
    grpc.StatusCode.FAILED_PRECONDITION: "Conflict",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "RateLimited",
    grpc.StatusCode.UNAVAILABLE: "Unavailable",
    grpc.StatusCode.UNAUTHENTICATED: "Unauthenticated",
    grpc.StatusCode.PERMISSION_DENIED: "Forbidden",
    grpc.StatusCode.DEADLINE_EXCEEDED: "DeadlineExceeded",
    grpc.StatusCode.UNIMPLEMENTED: "Unsupported",
    grpc.StatusCode.INTERNAL: "ServerError",
}
FINISHED = pb.GenerateResponse(finished=pb.GenerationFinished(reason=pb.FINISH_REASON_STOP))


def refusing(times: int, error: Callable[[], ServiceError]) -> tuple[Service, list[Any]]:
    """A service that refuses so many calls before it answers, and the metadata of all calls."""
    seen: list[Any] = []

    async def list_models(request: Any, context: Any) -> pb.ListModelsResponse:
        seen.append(context.invocation_metadata())
        if len(seen) <= times:
            raise error()
        return pb.ListModelsResponse(models=[pb.Model(id="it")])

    async def generate(request: Any, context: Any) -> AsyncIterator[pb.GenerateResponse]:
        seen.append(context.invocation_metadata())
        if len(seen) <= times:
            raise error()
        for event in (pb.GenerateResponse(started=pb.GenerationStarted(seed=5)), DELTA, DELTA, FINISHED):
            yield event

    return Service(list_models, generate), seen


def full() -> ServiceError:
    return QueueFull(3, 0.01)


def test_both_clients_have_the_same_calls() -> None:
    def calls(cls: type) -> dict[str, str]:
        found = inspect.getmembers(cls, inspect.isfunction)
        return {
            name: str(inspect.signature(call)).replace("Async", "").partition(" ->")[0]
            for name, call in found
            if not name.startswith("_")
        }

    for there, here, names in (
        (client, async_client, ("Client", "Features", "Variants")),
        (chat, async_chat, ("Chat", "ChatStream", "Completions")),
    ):
        for name in names:
            assert calls(getattr(there, name)) == calls(getattr(here, f"Async{name}"))


async def test_the_asynchronous_client_answers_as_the_other(mesh: Mesh) -> None:
    variant = Variant()
    variant.set(Feature(3), 0.9)
    with Client(mesh=mesh) as other:
        theirs = other.chat.completions.create(HELLO, variant, temperature=0, max_completion_tokens=9)
        found = other.features.search("feature 7")
        inspection = other.features.inspect(HELLO, variant)
    async with AsyncClient(mesh=mesh) as ours:
        stream = await ours.chat.completions.create(
            HELLO, variant, temperature=0, max_completion_tokens=9, stream=True
        )
        text = "".join([chunk.text async for chunk in stream])
        whole = await ours.chat.completions.create(HELLO, variant, temperature=0, max_completion_tokens=9)
        assert text == whole.text == theirs.text
        assert await ours.features.search("feature 7") == found
        assert await ours.features.inspect(HELLO, variant) == inspection
        saved = await ours.variants.create("async", variant)
        assert (await ours.variants.get("async")).variant.edits == variant.edits
        await ours.variants.delete(saved)


@pytest.mark.parametrize("reason", Reason)
async def test_every_reason_has_its_error_with_what_the_server_says(reason: Reason) -> None:
    error = error_of(reason, "the problem", field="prompt.text", retry_after=1.5)
    async with served(raising(error)) as (server, _), AsyncClient(mesh=Mesh.behind(server.address)) as ours:
        stream = await ours.chat.completions.create(HELLO, stream=True)
        with pytest.raises(HearthError) as streamed:
            _ = [chunk async for chunk in stream]
    failed, code = streamed.value, STATUS_CODES[reason]
    assert (failed.code, type(failed).__name__) == (code, KINDS[code])
    assert (failed.message, failed.reason, failed.field) == ("the problem", reason.value, "prompt.text")
    assert failed.retry_after == 1.5
    assert failed.request_id


async def test_a_refused_call_is_tried_again_as_long_as_the_caller_waits() -> None:
    service, seen = refusing(2, full)
    async with served(service) as (server, _), AsyncClient(mesh=Mesh.behind(server.address)) as ours:
        with pytest.raises(RateLimited) as refused:
            await ours.models()
        assert (refused.value.retry_after, len(seen)) == (0.01, 1)
        assert [model.id for model in await ours.with_options(wait=5).models()] == ["it"]
        assert len(seen) == 3
        seen.clear()
        whole = await ours.with_options(wait=5).chat.completions.create(HELLO)
        assert (whole.text, whole.seed, len(seen)) == ("aa", 5, 3)
        seen.clear()
        with Client(mesh=Mesh.behind(server.address), wait=5) as other:
            theirs = await asyncio.to_thread(other.chat.completions.create, HELLO)
        assert (theirs.text, len(seen)) == ("aa", 3)
        seen.clear()
        with pytest.raises(RateLimited):
            await ours.with_options(wait=0.015).models()
        assert len(seen) == 2


async def test_key_and_owner_go_with_every_call() -> None:
    service, seen = refusing(0, full)
    async with (
        served(service) as (server, _),
        AsyncClient("a-key", mesh=Mesh.behind(server.address), owner="ann") as ours,
    ):
        await ours.models()
        await ours.chat.completions.create(HELLO)
    for metadata in map(dict, seen):
        assert metadata["authorization"] == "Bearer a-key"
        assert metadata["x-hearth-owner"] == "ann"


async def test_a_deadline_reaches_the_server_and_ends_the_call() -> None:
    left: list[float] = []

    async def list_models(request: Any, context: Any) -> pb.ListModelsResponse:
        left.append(context.time_remaining())
        return pb.ListModelsResponse()

    stuck = Stuck()
    async with (
        served(Service(list_models, stuck)) as (server, _),
        AsyncClient(mesh=Mesh.behind(server.address)) as ours,
    ):
        await ours.models()
        await ours.with_options(deadline=3).models()
        assert 5 < left[0] < 11  # the service config's 10 s, which travel in rounded units
        assert left[1] < 4
        with pytest.raises(DeadlineExceeded):
            await ours.with_options(deadline=0.2).chat.completions.create(HELLO)
        await stuck.over.wait()


async def test_cancelling_and_leaving_end_the_generation_on_the_server() -> None:
    stuck = Stuck()
    async with (
        served(Service(generate=stuck)) as (server, _),
        AsyncClient(mesh=Mesh.behind(server.address)) as ours,
    ):
        task = asyncio.create_task(ours.chat.completions.create(HELLO))
        await stuck.running.wait()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await stuck.over.wait()
        stuck.over.clear()
        async with await ours.chat.completions.create(HELLO, stream=True) as stream:
            await anext(stream)
        await stuck.over.wait()

"""A real server on a loopback port, with a service whose methods a test writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import inference_service_pb2_grpc as pb_grpc
from services.errors import HearthError, Reason
from services.rpc.access import Authenticator
from services.rpc.channel import connect
from services.rpc.server import RunningServer, ServerSettings, serve

SERVICE = "hearth.v1.InferenceService"
DELTA = pb.GenerateResponse(delta=pb.GenerationDelta(text="a"))


async def no_models(request: pb.ListModelsRequest, context: Any) -> pb.ListModelsResponse:
    return pb.ListModelsResponse()


async def one_delta(request: pb.GenerateRequest, context: Any) -> AsyncIterator[pb.GenerateResponse]:
    yield DELTA


@dataclass
class Service(pb_grpc.InferenceServiceServicer):
    """Two methods that a test gives; the others are not implemented."""

    list_models: Callable[..., Awaitable[pb.ListModelsResponse]] = no_models
    generate: Callable[..., AsyncIterator[pb.GenerateResponse]] = one_delta

    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> pb.ListModelsResponse:
        return await self.list_models(request, context)

    async def Generate(self, request: pb.GenerateRequest, context: Any) -> AsyncIterator[pb.GenerateResponse]:
        async for response in self.generate(request, context):
            yield response


@dataclass
class Stuck:
    """A generation that answers once and then waits; tells when it runs and when it is over."""

    running: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, request: Any, context: Any) -> AsyncIterator[pb.GenerateResponse]:
        try:
            yield DELTA
            self.running.set()
            await self.go_on.wait()
            yield DELTA
        finally:
            self.over.set()


def raising(error: Exception) -> Service:
    """A service whose ListModels fails, and whose Generate fails after its first answer."""

    async def list_models(request: Any, context: Any) -> pb.ListModelsResponse:
        raise error

    async def generate(request: Any, context: Any) -> AsyncIterator[pb.GenerateResponse]:
        yield DELTA
        raise error

    return Service(list_models, generate)


def error_of(reason: Reason, message: str = "the problem", **more: Any) -> HearthError:
    error = HearthError(message, **more)
    error.reason = reason
    return error


async def start(
    service: Service, *, serving: bool = True, authenticator: Authenticator | None = None, **settings: Any
) -> RunningServer:
    return await serve(
        {SERVICE: lambda server: pb_grpc.add_InferenceServiceServicer_to_server(service, server)},
        ServerSettings(**settings),
        serving=serving,
        handle_signals=False,
        authenticator=authenticator,
    )


@asynccontextmanager
async def served(service: Service, **settings: Any) -> AsyncIterator[tuple[RunningServer, grpc.aio.Channel]]:
    """A server and a channel to it; both are gone afterwards."""
    server = await start(service, **settings)
    async with connect(server.address) as channel:
        yield server, channel
    server.begin_drain()
    server.begin_drain()
    await server.stopped()


def stub(channel: grpc.aio.Channel) -> pb_grpc.InferenceServiceAsyncStub:
    return pb_grpc.InferenceServiceStub(channel)

"""Several models, each with servers of its own, behind one channel."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest

from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import inference_service_pb2_grpc as rpc
from hearth.v1 import prompt_pb2
from services.rpc.by_model import ModelChannel, connect_by_model
from services.rpc.channel import RpcFailure, rpc_failures
from services.rpc.server import RunningServer, ServerSettings, serve

SERVICE = "hearth.v1.InferenceService"


class Serving(rpc.InferenceServiceServicer):
    """Serves one model, and answers with its name."""

    def __init__(self, *models: str) -> None:
        self.models = models

    async def ListModels(self, request, context):
        begin = int(request.page_token or 0)
        more = str(begin + 1) if begin + 1 < len(self.models) else ""
        return pb.ListModelsResponse(models=[pb.Model(id=self.models[begin])], next_page_token=more)

    async def Tokenize(self, request, context):
        return pb.TokenizeResponse(tokens=[prompt_pb2.Token(piece=self.models[0].encode())])

    async def Generate(self, request, context):
        yield pb.GenerateResponse(delta=pb.GenerationDelta(text=self.models[0]))


async def started(*models: str) -> RunningServer:
    return await serve(
        {SERVICE: lambda server: rpc.add_InferenceServiceServicer_to_server(Serving(*models), server)},
        ServerSettings(drain_seconds=0),
        handle_signals=False,
    )


@pytest.fixture
async def servers() -> AsyncIterator[dict[str, RunningServer]]:
    running = {name: await started(name) for name in ("small", "large")}
    yield running
    for server in running.values():
        await server.drain()


@pytest.fixture
async def channel(servers: dict[str, RunningServer]) -> AsyncIterator[grpc.aio.Channel]:
    by_model = {name: server.address for name, server in servers.items()}
    async with connect_by_model(servers["small"].address, by_model) as opened:
        yield opened


@pytest.mark.parametrize(("model", "server"), [("small", "small"), ("large", "large"), ("", "small")])
async def test_a_call_goes_to_the_server_of_its_model(channel, model, server):
    stub = rpc.InferenceServiceStub(channel)
    answer = await stub.Tokenize(pb.TokenizeRequest(model=model))
    events = [event async for event in stub.Generate(pb.GenerateRequest(model=model))]
    assert answer.tokens[0].piece.decode() == server
    assert [event.delta.text for event in events] == [server]


async def test_all_servers_models_are_one_list(channel):
    stub = rpc.InferenceServiceStub(channel)
    listed = await stub.ListModels(pb.ListModelsRequest())
    assert [model.id for model in listed.models] == ["small", "large"]
    first = await stub.ListModels(pb.ListModelsRequest(page_size=1))
    second = await stub.ListModels(pb.ListModelsRequest(page_size=1, page_token=first.next_page_token))
    assert [model.id for page in (first, second) for model in page.models] == ["small", "large"]
    assert not second.next_page_token


async def test_a_server_that_went_away_keeps_its_models_in_the_list(channel, servers):
    stub = rpc.InferenceServiceStub(channel)
    await stub.ListModels(pb.ListModelsRequest())
    await servers["large"].drain()
    listed = await stub.ListModels(pb.ListModelsRequest())
    assert [model.id for model in listed.models] == ["small", "large"]
    with pytest.raises(RpcFailure) as refused, rpc_failures():
        await stub.Tokenize(pb.TokenizeRequest(model="large"), timeout=2)
    assert refused.value.code is grpc.StatusCode.UNAVAILABLE
    assert (await stub.Tokenize(pb.TokenizeRequest(model="small"))).tokens[0].piece == b"small"


async def test_a_server_that_was_never_there_costs_only_its_own_models(servers):
    nobody = "127.0.0.1:1"
    async with connect_by_model(servers["small"].address, {"large": nobody}) as opened:
        listed = await rpc.InferenceServiceStub(opened).ListModels(pb.ListModelsRequest())
    assert [model.id for model in listed.models] == ["small"]


async def test_pages_of_a_server_are_followed():
    server = await started("one", "two", "three")
    async with connect_by_model(server.address, {"other": "127.0.0.1:1"}) as opened:
        listed = await rpc.InferenceServiceStub(opened).ListModels(pb.ListModelsRequest())
    await server.drain()
    assert [model.id for model in listed.models] == ["one", "two", "three"]


async def test_one_server_needs_no_such_channel(servers):
    address = servers["small"].address
    async with connect_by_model(address, {"small": address}) as opened:
        assert not isinstance(opened, ModelChannel)

"""InferenceService over gRPC: each method decodes, makes one call, encodes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import inference_service_pb2_grpc as rpc
from services.inference.generation import generate
from services.inference.host import new_seed
from services.inference.hosts import Hosts
from services.inference.readings import attribute, batch_inspect, compute_logits, contrast, inspect
from services.inference.scoring import score_texts
from services.inference.wire import decode, encode, encode_readings
from services.rpc.calls import Context, owner


class InferenceServicer(rpc.InferenceServiceServicer):
    """Answers calls for the models it is given."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """See the proto."""
        hosts = self._hosts.all()
        numbers = decode.page(request.page_size, request.page_token, len(hosts))
        token = str(numbers.stop) if numbers.stop < len(hosts) else ""
        return pb.ListModelsResponse(models=[encode.model(hosts[n]) for n in numbers], next_page_token=token)

    async def Tokenize(self, request: pb.TokenizeRequest, context: Context) -> pb.TokenizeResponse:
        """See the proto."""
        call = decode.tokenize(request)
        host = self._hosts.get(call.model)
        done = await host.tokenize(call.prompt, open_turn=call.add_generation_prompt)
        tokens = [encode.token(host.tokenizer, i) for i in done.ids]
        return pb.TokenizeResponse(tokens=tokens, spans=encode.spans(done.spans))

    async def Generate(
        self, request: pb.GenerateRequest, context: Context
    ) -> AsyncIterator[pb.GenerateResponse]:
        """See the proto."""
        call = decode.generate(request, new_seed())
        host = self._hosts.get(call.model)
        done = await host.tokenize(call.prompt, open_turn=True, room=1)
        async with aclosing(generate(host, call, done.ids, owner(context))) as events:
            async for event in events:
                yield encode.event(host, call, done.ids, event)

    async def ComputeLogits(
        self, request: pb.ComputeLogitsRequest, context: Context
    ) -> pb.ComputeLogitsResponse:
        """See the proto."""
        call = decode.logits(request)
        host = self._hosts.get(call.model)
        return encode_readings.logits(host, await compute_logits(host, call, owner(context)))

    async def ScoreTexts(self, request: pb.ScoreTextsRequest, context: Context) -> pb.ScoreTextsResponse:
        """See the proto."""
        call = decode.score_texts(request)
        host = self._hosts.get(call.model)
        return encode_readings.scores(call, await score_texts(host, call, owner(context)))

    async def Inspect(
        self, request: pb.InspectRequest, context: Context
    ) -> AsyncIterator[pb.InspectResponse]:
        """See the proto."""
        call = decode.inspect(request)
        host = self._hosts.get(call.model)
        async with aclosing(inspect(host, call, owner(context))) as runs:
            async for run in runs:
                yield encode_readings.run(host, run)

    async def BatchInspect(
        self, request: pb.BatchInspectRequest, context: Context
    ) -> pb.BatchInspectResponse:
        """See the proto."""
        call = decode.batch_inspect(request)
        host = self._hosts.get(call.model)
        return encode_readings.pooled(await batch_inspect(host, call, owner(context)))

    async def Attribute(self, request: pb.AttributeRequest, context: Context) -> pb.AttributeResponse:
        """See the proto."""
        call = decode.attribute(request)
        host = self._hosts.get(call.model)
        return encode_readings.attribution(host, await attribute(host, call))

    async def Contrast(self, request: pb.ContrastRequest, context: Context) -> pb.ContrastResponse:
        """See the proto."""
        call = decode.contrast(request)
        host = self._hosts.get(call.model)
        return encode_readings.contrast(await contrast(host, call, owner(context)))

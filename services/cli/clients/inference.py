"""Calls of the inference service: plain data in, plain data out, RpcFailure where a call fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import grpc

from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import inference_service_pb2_grpc as pb_grpc
from hearth.v1 import prompt_pb2
from services.cli import answers
from services.cli.clients.channel import Client, pages
from services.cli.questions import Generation, Prompt
from services.cli.wire import inference as wire
from services.rpc.channel import rpc_failures
from services.steering.edits import Steering


class InferenceClient(Client):
    """Calls the inference service."""

    def __init__(
        self, address: str, model: str = "", sae: str = "", *, deadline: float | None = None
    ) -> None:
        super().__init__(address, deadline)
        self._model, self._sae = model, sae

    def _open(self, channel: grpc.aio.Channel) -> None:
        self._stub: pb_grpc.InferenceServiceAsyncStub = pb_grpc.InferenceServiceStub(channel)

    async def models(self) -> list[answers.ModelInfo]:
        """All models that are served."""
        answered = pages(self._stub.ListModels, pb.ListModelsRequest())
        return [wire.model_from_proto(model) async for page in answered for model in page.models]

    async def sae(self) -> answers.SaeInfo | None:
        """The SAE that features without one are of; None where it is not clear which."""
        models = [each for each in await self.models() if self._model in ("", each.id)]
        saes = [sae for each in models[:1] for sae in each.saes if self._sae in ("", sae.id)]
        return saes[0] if len(saes) == 1 else None

    async def tokenize(self, prompt: Prompt, *, open_turn: bool = False) -> answers.Tokens:
        """The tokens of a prompt; with `open_turn`, a chat ends where the assistant begins."""
        request = pb.TokenizeRequest(
            model=self._model, prompt=wire.prompt_to_proto(prompt), add_generation_prompt=open_turn
        )
        with rpc_failures():
            return wire.tokens_from_proto(await self._stub.Tokenize(request))

    async def generate(self, generation: Generation) -> AsyncIterator[answers.Event]:
        """The events of a generation; leaving the loop early cancels it."""
        call = self._stub.Generate(wire.generate_request(self._model, generation))
        try:
            with rpc_failures():
                async for response in call:
                    event = wire.event_from_proto(response)
                    if event is not None:
                        yield event
        finally:
            call.cancel()

    async def inspect(
        self, prompt: Prompt, *, features: Sequence[int] = (), steering: Steering, open_turn: bool = False
    ) -> list[answers.InspectedToken]:
        """Every token with all features that fire, or those of `features`."""
        request = pb.InspectRequest(
            model=self._model,
            sae=self._sae,
            prompt=wire.prompt_to_proto(prompt),
            feature_indices=features,
            steering=wire.steering_message(steering),
            add_generation_prompt=open_turn,
        )
        tokens: list[answers.InspectedToken] = []
        with rpc_failures():
            async for response in self._stub.Inspect(request):
                tokens += wire.inspected_from_proto(response)
        return tokens

    async def contrast(
        self,
        positive: Sequence[Prompt],
        negative: Sequence[Prompt],
        *,
        pooling: str,
        role: str | None,
        top_k: int,
    ) -> answers.Contrast:
        """What tells two sets of prompts apart."""
        request = pb.ContrastRequest(
            model=self._model,
            sae=self._sae,
            positive=wire.prompts_to_proto(positive),
            negative=wire.prompts_to_proto(negative),
            pooling=pb.Pooling.Value(f"POOLING_{pooling.upper()}"),
            role=prompt_pb2.Role.Value(f"ROLE_{(role or 'unspecified').upper()}"),
            top_k=top_k,
        )
        with rpc_failures():
            return wire.contrast_from_proto(await self._stub.Contrast(request))

    async def logits(
        self, prompt: Prompt, *, steering: Steering, top_k: int, named: Sequence[int] = ()
    ) -> answers.Logits:
        """The likeliest next tokens, and those named by their ids."""
        request = pb.ComputeLogitsRequest(
            model=self._model,
            prompt=wire.prompt_to_proto(prompt),
            steering=wire.steering_message(steering),
            top_k=top_k,
            token_ids=named,
        )
        with rpc_failures():
            return wire.logits_from_proto(await self._stub.ComputeLogits(request))

    async def attribute(
        self, prompt: Prompt, *, target: int | None, baseline: int | None, top_k: int
    ) -> answers.Attribution:
        """The features that raised or lowered the next token's logit."""
        request = pb.AttributeRequest(
            model=self._model,
            sae=self._sae,
            prompt=wire.prompt_to_proto(prompt),
            target_token=target,
            baseline_token=baseline,
            top_k=top_k,
        )
        with rpc_failures():
            return wire.attribution_from_proto(await self._stub.Attribute(request))

"""Calls of the inference service that generate again what receipts are of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial

from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import prompt_pb2
from services.cli.clients.channel import pages
from services.cli.clients.inference import InferenceClient
from services.cli.replaying import Difference, Replayed, in_turn
from services.cli.wire import receipts as wire
from services.errors import Reason
from services.rpc.channel import RpcFailure, rpc_failures

_MISSING = {
    Reason.MODEL_NOT_SERVED: "model",
    Reason.SAE_NOT_SERVED: "SAE",
    Reason.FEATURE_OUT_OF_RANGE: "steering",
    Reason.INVALID_FIELD: "steering",
    Reason.PROMPT_TOO_LONG: "prompt",
}
"""What is not as it was where the server refuses what it once answered."""


class ReplayClient(InferenceClient):
    """Replays receipts."""

    async def replays(
        self, receipts: Sequence[pb.Receipt], prompts: Sequence[prompt_pb2.Prompt]
    ) -> AsyncIterator[Replayed]:
        """What comes of each, in their order. `prompts` are those of receipts that have digests only."""
        listed = pages(self._stub.ListModels, pb.ListModelsRequest())
        served = [model async for page in listed for model in page.models]
        by_digest = await self._by_digest(prompts, sorted({each.model for each in receipts}), served)
        async for done in in_turn(receipts, partial(self._replay, served, by_digest)):
            yield done

    async def _by_digest(
        self, prompts: Sequence[prompt_pb2.Prompt], models: Sequence[str], served: Sequence[pb.Model]
    ) -> dict[str, prompt_pb2.Prompt]:
        """Prompts as tokens, by their digests under each model's tokenizer."""
        found = {}
        for model in models:
            name = wire.model_for(pb.Receipt(model=model), served)
            for prompt in prompts:
                request = pb.TokenizeRequest(model=name, prompt=prompt, add_generation_prompt=True)
                with rpc_failures():
                    answer = await self._stub.Tokenize(request)
                ids = [token.id for token in answer.tokens]
                found[wire.token_digest(ids)] = prompt_pb2.Prompt(token_ids=prompt_pb2.TokenIds(ids=ids))
        return found

    async def _replay(
        self,
        served: Sequence[pb.Model],
        prompts: Mapping[str, prompt_pb2.Prompt],
        number: int,
        receipt: pb.Receipt,
    ) -> Replayed:
        if receipt.HasField("prompt"):
            prompt = prompt_pb2.Prompt(token_ids=receipt.prompt)
        elif receipt.prompt_digest in prompts:
            prompt = prompts[receipt.prompt_digest]
        else:
            missing = Difference(
                "prompt", receipt.prompt_digest, "", "is not in the receipt: give it with --prompts"
            )
            return Replayed(number, receipt.model, 0, (missing,))
        try:
            now = await self._again(wire.request_of(receipt, wire.model_for(receipt, served), prompt))
        except RpcFailure as failure:
            if failure.reason not in _MISSING:
                raise
            refused = Difference(_MISSING[failure.reason], "", failure.message, "is refused now")
            return Replayed(number, receipt.model, 0, (refused,))
        return Replayed(number, receipt.model, len(now.completion.ids), wire.differences(receipt, now))

    async def _again(self, request: pb.GenerateRequest) -> pb.Receipt:
        now = pb.Receipt()
        with rpc_failures():
            async for response in self._stub.Generate(request):
                if response.HasField("finished"):
                    now = response.finished.receipt
        return now

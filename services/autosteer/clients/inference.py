"""Inference over gRPC."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import inference_service_pb2_grpc as rpc
from hearth.v1 import prompt_pb2
from services.autosteer.clients.messages import (
    contrasted,
    generate_request,
    prompt_message,
    steering_message,
)
from services.autosteer.clients.retrying import tried
from services.autosteer.spec import Prompt
from services.autosteer.upstream import Ask, Contrasted, Likelihood, Served
from services.errors import InvalidField, ModelNotServed, SaeNotServed
from services.rpc.calls import OWNER_KEY
from services.steering.edits import Steering

WHAT = "inference"
SCORED_TOGETHER = 64
"""Texts in one request: a short one is done before a deadline, and cancelled soon."""
INSPECTED_TOGETHER = 128


class InferenceClient:
    """Calls inference for one job, on behalf of an owner whose generations are served in turn with others'."""

    def __init__(self, channel: grpc.aio.Channel, owner: str = "") -> None:
        self._stub: rpc.InferenceServiceAsyncStub = rpc.InferenceServiceStub(channel)
        self._metadata = ((OWNER_KEY, owner),) if owner else ()
        self._model = self._sae = ""

    async def served(self, model: str, sae: str) -> Served:
        """See upstream.Inference. All later calls are of this model and SAE."""
        listed: list[pb.Model] = []
        token = ""
        while True:
            request = pb.ListModelsRequest(page_token=token)
            page = await tried(WHAT, lambda r=request: self._stub.ListModels(r, metadata=self._metadata))  # type: ignore[misc]
            listed += page.models
            token = page.next_page_token
            if not token:
                break
        chosen = _model(listed, model)
        dictionary = _sae(chosen, sae)
        self._model, self._sae = chosen.id, dictionary.id
        return Served(
            chosen.id,
            dictionary.id,
            chosen.has_chat_template,
            dictionary.feature_count,
            dictionary.strength_constant,
        )

    async def generate(self, ask: Ask) -> str:
        """See upstream.Inference."""
        return await tried(WHAT, lambda: self._generated(generate_request(self._model, ask)))

    async def _generated(self, request: pb.GenerateRequest) -> str:
        call = self._stub.Generate(request, metadata=self._metadata)
        try:
            return "".join([event.delta.text async for event in call if event.HasField("delta")])
        finally:
            call.cancel()  # nothing happens to one that is over

    async def score(self, texts: Sequence[tuple[Prompt, str]], steering: Steering) -> list[Likelihood]:
        """See upstream.Inference."""
        found: list[Likelihood] = []
        for start in range(0, len(texts), SCORED_TOGETHER):
            request = pb.ScoreTextsRequest(
                model=self._model,
                continuations=[
                    pb.Continuation(prompt=prompt_message(prompt), text=text)
                    for prompt, text in texts[start : start + SCORED_TOGETHER]
                ],
                steering=steering_message(steering),
            )
            answer = await tried(WHAT, lambda r=request: self._stub.ScoreTexts(r, metadata=self._metadata))  # type: ignore[misc]
            found += [Likelihood(each.tokens, each.logprob) for each in answer.scores]
        return found

    async def contrast(
        self, positive: Sequence[Prompt], negative: Sequence[Prompt], top_k: int
    ) -> list[Contrasted]:
        """See upstream.Inference."""
        answered = all(
            any(message.role == "assistant" for message in prompt.messages)
            for prompt in (*positive, *negative)
        )
        request = pb.ContrastRequest(
            model=self._model,
            sae=self._sae,
            positive=map(prompt_message, positive),
            negative=map(prompt_message, negative),
            pooling=pb.POOLING_MEAN,
            role=prompt_pb2.ROLE_ASSISTANT if answered else prompt_pb2.ROLE_UNSPECIFIED,
            top_k=min(1000, top_k),
        )
        answer = await tried(WHAT, lambda: self._stub.Contrast(request, metadata=self._metadata))
        return [contrasted(each) for each in (*answer.positive, *answer.negative)]

    async def activations(self, prompts: Sequence[Prompt], features: Sequence[int]) -> list[dict[int, float]]:
        """See upstream.Inference."""
        rows: list[dict[int, float]] = []
        for start in range(0, len(prompts), INSPECTED_TOGETHER):
            request = pb.BatchInspectRequest(
                model=self._model,
                sae=self._sae,
                prompts=map(prompt_message, prompts[start : start + INSPECTED_TOGETHER]),
                pooling=pb.POOLING_MAX,
                feature_indices=features,
            )
            answer = await tried(WHAT, lambda r=request: self._stub.BatchInspect(r, metadata=self._metadata))  # type: ignore[misc]
            sparse = answer.activations
            rows += [
                dict(zip(sparse.indices[a:b], sparse.values[a:b], strict=True))
                for a, b in zip(sparse.starts, sparse.starts[1:], strict=False)
            ]
        return rows


def _model(listed: Sequence[pb.Model], name: str) -> pb.Model:
    if name:
        for each in listed:
            if each.id == name:
                return each
        raise ModelNotServed(name, [each.id for each in listed])
    if len(listed) != 1:
        raise InvalidField("spec.model", f"is empty, but {len(listed)} models are served; name one of them")
    return listed[0]


def _sae(model: pb.Model, name: str) -> pb.Sae:
    names = [each.id for each in model.saes]
    if name and name not in names:
        raise SaeNotServed("spec.sae", name, names)
    if not name and len(names) != 1:
        raise InvalidField(
            "spec.sae", f"is empty, but the model has {len(names)} SAEs; name one of: {', '.join(names)}"
        )
    return model.saes[names.index(name) if name else 0]

"""Ember's routes, as the `goodfire` SDK 0.3.5 calls them, but for chat/completions and models, which OpenAI's share."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from services.errors import InvalidField
from services.gateway.callers import Caller, TheCaller
from services.gateway.ember import autosteering, features
from services.gateway.ember.bodies import (
    AttributionBody,
    ChatBody,
    ContrastBody,
    InspectBody,
    LogitsBody,
    LookupBody,
    NeighborsBody,
    RerankBody,
    SpecificationBody,
)
from services.gateway.ember.cards import named
from services.gateway.ember.wire import autosteer as autosteer_wire
from services.gateway.ember.wire import features as features_wire
from services.gateway.ember.wire import inference as inference_wire
from services.gateway.gateway import Gateway, TheGateway
from services.gateway.models import ServedModel
from services.keys.wire.meter import Meter
from services.rpc.channel import rpc_failures

router = APIRouter(prefix="/api/inference/v1", tags=["Ember"], default_response_class=JSONResponse)

MOST_FOUND = 100
"""Features of a search, all pages together."""
SUGGESTION_SECONDS = 58.0
"""The SDK waits 60 s for a condition,"""
DRAFT_SECONDS = 29.0
"""and 30 s for a data set."""


@router.post("/chat/tokenize")
async def tokenize(body: ChatBody, gateway: TheGateway, caller: TheCaller) -> JSONResponse:
    """The tokens of a chat, with the model's template around it."""
    model = await gateway.models.find(body.model)
    request = inference_wire.tokenize(body.messages, model, open_turn=False)
    with rpc_failures():
        answer = await gateway.services.inference.Tokenize(request, metadata=caller.metadata)
    return JSONResponse({"tokens": inference_wire.tokens(answer)})


@router.post("/chat-attribution/compute-features")
async def compute_features(body: InspectBody, gateway: TheGateway, caller: TheCaller) -> JSONResponse:
    """Which features fire at every token of a chat, in activation units, the strongest first."""
    model = await gateway.models.find(body.model)
    request = inference_wire.inspect(body, model)
    with rpc_failures():
        call = gateway.services.inference.Inspect(request, metadata=caller.metadata)
        runs = [run async for run in call]
    cards = await features.by_index(gateway, caller, model, inference_wire.firing(runs))
    await caller.charge(inference_wire.prompt_tokens(runs))
    return JSONResponse({"tokens": inference_wire.inspected(runs, cards)})


@router.post("/chat-attribution/compute-logits")
async def compute_logits(body: LogitsBody, gateway: TheGateway, caller: TheCaller) -> JSONResponse:
    """The next token's logits. Behind an assistant's message its text goes on, behind another's an answer begins."""
    model = await gateway.models.find(body.model)
    prompt = inference_wire.chat(body.messages)
    if body.messages[-1].role == "assistant":
        request = inference_wire.tokenize(body.messages, model, open_turn=False)
        with rpc_failures():
            tokenized = await gateway.services.inference.Tokenize(request, metadata=caller.metadata)
        prompt = inference_wire.continued(tokenized)
    words = list(dict.fromkeys(body.filter_vocabulary or ()))
    ids = await _token_ids(words, gateway, caller, model)
    asked = inference_wire.logits(body, model, prompt, ids)
    with rpc_failures():
        answer = await gateway.services.inference.ComputeLogits(asked, metadata=caller.metadata)
    await caller.charge(answer.position + 1)
    if words:
        return JSONResponse({"logits": inference_wire.named_logits(answer, words, body.top_k)})
    return JSONResponse({"logits": inference_wire.top_logits(answer)})


@router.post("/chat-attribution/contrast")
async def contrast(body: ContrastBody, gateway: TheGateway, caller: TheCaller) -> JSONResponse:
    """Features that tell two sets of chats apart; the sets need not be of one size."""
    model = await gateway.models.find(body.model)
    request = inference_wire.contrast(body, model)
    with rpc_failures():
        answer = await gateway.services.inference.Contrast(request, metadata=caller.metadata)
    await caller.charge(Meter(request).tokens)
    sides = inference_wire.sides(body, answer)
    cards = await features.by_index(gateway, caller, model, [*sides[0], *sides[1]])
    return JSONResponse(inference_wire.contrasted(sides, cards))


@router.post("/attributions/compute-logit-attribution")
async def compute_logit_attribution(
    body: AttributionBody, gateway: TheGateway, caller: TheCaller
) -> JSONResponse:
    """Which features made the model write one token of a chat, and where they fire."""
    model = await gateway.models.find(body.model)
    open_turn = body.messages[-1].role != "assistant"
    request = inference_wire.tokenize(body.messages, model, open_turn=open_turn)
    with rpc_failures():
        tokenized = await gateway.services.inference.Tokenize(request, metadata=caller.metadata)
        asked = inference_wire.attribute(tokenized, body, model)
        answer = await gateway.services.inference.Attribute(asked, metadata=caller.metadata)
    cards = await features.by_index(gateway, caller, model, inference_wire.attributed_features(answer))
    size = len(tokenized.tokens)
    await caller.charge(size)
    return JSONResponse(inference_wire.attributed(answer, cards, size))


@router.post("/attributions/neighbors")
async def neighbors(body: NeighborsBody, gateway: TheGateway, caller: TheCaller) -> JSONResponse:
    """Features that push the model in similar directions as one, or as the centre of some."""
    model = await gateway.models.find(body.model)
    request = features_wire.neighbors(body, model.default_sae)
    with rpc_failures():
        answer = await gateway.services.features.FindNeighbors(request, metadata=caller.metadata)
    return JSONResponse({"neighbors": named(features_wire.hit_cards(answer.hits))})


@router.post("/attributions/generate-contrastive-dataset")
async def generate_contrastive_dataset(
    body: SpecificationBody, gateway: TheGateway, caller: TheCaller
) -> JSONResponse:
    """Two sets of chats that the model writes: without a behaviour, and with it."""
    model = await gateway.models.find(body.model)
    request = autosteer_wire.draft(body.specification, model)
    with rpc_failures():
        answer = await gateway.services.autosteer.DraftContrast(
            request, metadata=caller.metadata, timeout=DRAFT_SECONDS
        )
    return JSONResponse(autosteer_wire.drafted(answer))


@router.get("/features/search")
async def search(
    gateway: TheGateway,
    caller: TheCaller,
    query: str,
    model: str = "",
    page: Annotated[int, Query(ge=1, le=MOST_FOUND)] = 1,
    per_page: Annotated[int, Query(alias="perPage", ge=1, le=MOST_FOUND)] = 10,
) -> JSONResponse:
    """Features by meaning and by word, best first; at most 100, all pages together."""
    served = await gateway.models.find(model)
    most = min(page * per_page, MOST_FOUND)
    request = features_wire.search(query, served.default_sae, most)
    with rpc_failures():
        answer = await gateway.services.features.SearchFeatures(request, metadata=caller.metadata)
    return JSONResponse({"features": features_wire.relevant(answer.hits[(page - 1) * per_page :])})


@router.get("/features/")
async def get_features(
    gateway: TheGateway,
    caller: TheCaller,
    feature_id: Annotated[list[UUID], Query(max_length=1000)] = [],  # noqa: B006, fastapi copies it
) -> JSONResponse:
    """Features by UUID, in that order; those that are not in the catalogue are left out."""
    cards = await features.by_id(gateway, caller, list(dict.fromkeys(map(str, feature_id))))
    return JSONResponse({"features": named(cards)})


@router.post("/features/rerank")
async def rerank(body: RerankBody, gateway: TheGateway, caller: TheCaller) -> JSONResponse:
    """Features in order of how well their labels fit a query; relevance is the cosine."""
    await gateway.models.find(body.model)
    return JSONResponse({"features": await features.reranked(gateway, caller, body)})


@router.post("/features/lookup")
async def lookup(body: LookupBody, gateway: TheGateway, caller: TheCaller) -> JSONResponse:
    """Features by their index in the SAE."""
    model = await gateway.models.find(body.model)
    cards = await features.by_index(gateway, caller, model, body.indices, allow_missing=False)
    return JSONResponse({"features": [card.whole() for card in cards.values()]})


@router.post("/features/auto-edits")
async def auto_edits(
    body: SpecificationBody, request: Request, gateway: TheGateway, caller: TheCaller
) -> JSONResponse:
    """Edits that bring a behaviour about: the best that a quick auto-steer job finds, with its verdict on them."""
    model = await gateway.models.find(body.model)
    found = await autosteering.auto_edits(
        gateway, caller, model, body.specification, request.receive, autosteering.ANSWER_SECONDS
    )
    return JSONResponse(found)


@router.post("/features/auto-conditional")
async def auto_conditional(body: SpecificationBody, gateway: TheGateway, caller: TheCaller) -> JSONResponse:
    """A condition that holds where a text is about something, with how well it tells texts apart."""
    model = await gateway.models.find(body.model)
    request = autosteer_wire.condition(body.specification, model)
    with rpc_failures():
        answer = await gateway.services.autosteer.SuggestCondition(
            request, metadata=caller.metadata, timeout=SUGGESTION_SECONDS
        )
    cards = await features.by_index(gateway, caller, model, autosteer_wire.condition_features(answer))
    return JSONResponse(autosteer_wire.found_condition(answer, cards))


async def _token_ids(words: Sequence[str], gateway: Gateway, caller: Caller, model: ServedModel) -> list[int]:
    """The tokens that words are. Raises RpcFailure, InvalidField."""

    async def one(number: int, text: str) -> int:
        field = f"filter_vocabulary[{number}]"
        if not text:
            raise InvalidField(field, "is empty; allowed: single tokens of the model")
        with rpc_failures():
            answer = await gateway.services.inference.Tokenize(
                inference_wire.word(text, model), metadata=caller.metadata
            )
        return inference_wire.token_of(text, answer, field)

    return list(await asyncio.gather(*(one(number, text) for number, text in enumerate(words))))

"""OpenAI's routes, at its own base path and at Ember's, whose SDK speaks the same contract."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from services.gateway.callers import TheCaller
from services.gateway.failures import EMBER
from services.gateway.gateway import Gateway, TheGateway
from services.gateway.openai import unsupported
from services.gateway.openai.answering import Answering, begin
from services.gateway.openai.answers import Form
from services.gateway.openai.bodies import MAX_SAMPLES, ChatBody, CompletionBody
from services.gateway.openai.forms import ChatForm, EmberForm, TextForm
from services.gateway.openai.wire.listing import listed, one
from services.gateway.presence import while_present
from services.gateway.streaming import sse

_STAINLESS = "x-stainless-lang"
"""A header that every SDK of OpenAI sends."""
_contract = APIRouter(tags=["OpenAI"])


@_contract.post("/chat/completions", response_model=None)
async def create_chat_completion(
    body: ChatBody, request: Request, gateway: TheGateway, caller: TheCaller
) -> Response:
    """Answers to a chat, steered or not; whole, or as server-sent events."""
    unsupported.check_chat(body)
    form: Form = EmberForm() if _is_embers_sdk(request) else ChatForm()
    return await _respond(request, gateway, await begin(body, form, gateway, caller))


@_contract.post("/completions", response_model=None)
async def create_completion(
    body: CompletionBody, request: Request, gateway: TheGateway, caller: TheCaller
) -> Response:
    """Texts that go on from a prompt, steered or not; whole, or as server-sent events."""
    unsupported.check_completion(body, MAX_SAMPLES)
    return await _respond(request, gateway, await begin(body, TextForm(), gateway, caller))


@_contract.get("/models")
async def list_models(gateway: TheGateway, caller: TheCaller) -> dict[str, Any]:
    """The served models with their SAEs, and the caller's saved variants."""
    return await listed(gateway, caller)


@_contract.get("/models/{name:path}")
async def retrieve_model(name: str, gateway: TheGateway, caller: TheCaller) -> dict[str, Any]:
    """One of them by its id."""
    return await one(name, gateway, caller)


async def _respond(request: Request, gateway: Gateway, answering: Answering) -> Response:
    if not answering.streams:
        return JSONResponse(await while_present(request.receive, answering.whole()))
    # A comment would end the stream of Ember's SDK.
    silence = None if _is_embers_sdk(request) else gateway.settings.keep_alive_seconds
    return sse(answering.events(), keep_alive=silence)


def _is_embers_sdk(request: Request) -> bool:
    """Whether chunks must be as Ember's SDK needs them: at its path, unless OpenAI's SDK asks."""
    return request.url.path.startswith(EMBER) and _STAINLESS not in request.headers


router = APIRouter()
router.include_router(_contract, prefix="/v1")
router.include_router(_contract, prefix=EMBER.removesuffix("/"))

"""Served models and saved variants as OpenAI lists them."""

from __future__ import annotations

from typing import Any

from hearth.v1 import variant_service_pb2 as pb
from services.gateway.callers import Caller
from services.gateway.gateway import Gateway
from services.gateway.models import ServedModel
from services.gateway.openai.wire.target import VARIANT, variant_of
from services.rpc.channel import rpc_failures

_PAGE = 1000


async def listed(gateway: Gateway, caller: Caller) -> dict[str, Any]:
    """All served models, then the caller's variants, newest first. Raises RpcFailure."""
    models = [_model(each) for each in await gateway.models.all()]
    return {"object": "list", "data": models + [_variant(each) for each in await _variants(gateway, caller)]}


async def one(name: str, gateway: Gateway, caller: Caller) -> dict[str, Any]:
    """One of them. Raises ModelNotServed, NotFound, RpcFailure."""
    if name.startswith(VARIANT):
        return _variant(await variant_of(name, gateway, caller))
    return _model(await gateway.models.find(name))


async def _variants(gateway: Gateway, caller: Caller) -> list[pb.Variant]:
    found: list[pb.Variant] = []
    request = pb.ListVariantsRequest(page_size=_PAGE)
    while True:
        with rpc_failures():
            page = await gateway.services.variants.ListVariants(request, metadata=caller.metadata)
        found += page.variants
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


def _model(model: ServedModel) -> dict[str, Any]:
    return {
        "id": model.id,
        "object": "model",
        "created": 0,  # nobody knows when a model was made
        "owned_by": "hearth",
        "context_length": model.context_length,
        "weights_digest": model.weights_digest,
        "saes": [
            {
                "id": sae.id,
                "hook_point": sae.hook_point,
                "layer": sae.layer,
                "feature_count": sae.feature_count,
            }
            for sae in model.saes
        ],
    }


def _variant(variant: pb.Variant) -> dict[str, Any]:
    return {
        "id": f"{VARIANT}{variant.id}",
        "object": "model",
        "created": variant.create_time.seconds,
        "owned_by": "you",
        "name": variant.name,
        "description": variant.description,
        "root": variant.model or None,
    }

"""Features by name, in as many calls as their number needs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from services.gateway.callers import Caller
from services.gateway.ember.bodies import RerankBody
from services.gateway.ember.cards import Card
from services.gateway.ember.wire import features as wire
from services.gateway.gateway import Gateway
from services.gateway.models import ServedModel
from services.rpc.channel import rpc_failures

TOGETHER = 1000
"""Features in one call, and in one answer to a rerank."""


async def by_index(
    gateway: Gateway,
    caller: Caller,
    model: ServedModel,
    indices: Iterable[int],
    *,
    allow_missing: bool = True,
) -> dict[int, Card]:
    """Features of a model's default SAE. One that the catalogue does not have has a UUID all the same.

    Raises RpcFailure, also for one that is not there unless `allow_missing`.
    """
    wanted = list(dict.fromkeys(indices))
    has_scales = any(sae.has_scales for sae in model.saes[:1])

    async def some(part: Sequence[int]) -> list[Card]:
        request = wire.by_index(model.default_sae, part, allow_missing=allow_missing)
        with rpc_failures():
            answer = await gateway.services.features.BatchGetFeatures(request, metadata=caller.metadata)
        return wire.cards(answer, has_scales=has_scales)

    answers = await asyncio.gather(*map(some, _parts(wanted)))
    return {card.index: card for cards in answers for card in cards}


async def by_id(gateway: Gateway, caller: Caller, ids: Sequence[str]) -> list[Card]:
    """Features of any SAE in the order of their UUIDs; those that the catalogue does not have are left out."""

    async def some(part: Sequence[str]) -> list[Card]:
        with rpc_failures():
            answer = await gateway.services.features.BatchGetFeatures(
                wire.by_id(part), metadata=caller.metadata
            )
        return wire.cards(answer)

    answers = await asyncio.gather(*map(some, _parts(ids)))
    return [card for cards in answers for card in cards]


async def reranked(gateway: Gateway, caller: Caller, body: RerankBody) -> list[dict[str, Any]]:
    """Features in order of how well their labels fit a query.

    An answer of the catalogue holds the best thousand. For more, parts are ranked each on its own: the cosines by which
    they are ranked mean the same in all of them.
    """
    ids = list(dict.fromkeys(map(str, body.feature_ids)))
    parts = _parts(ids) if body.top_k > TOGETHER else [ids] if ids and body.top_k else []

    async def some(part: Sequence[str]) -> list[dict[str, Any]]:
        request = wire.rerank(body.query, part, min(body.top_k, TOGETHER))
        with rpc_failures():
            answer = await gateway.services.features.RerankFeatures(request, metadata=caller.metadata)
        return wire.relevant(answer.hits)

    answers = await asyncio.gather(*map(some, parts))
    ranked = [each for answer in answers for each in answer]
    if len(parts) > 1:
        ranked.sort(key=lambda each: -float(each["relevance"]))
    return ranked[: body.top_k]


def _parts(values: Sequence[Any]) -> list[Sequence[Any]]:
    return [values[start : start + TOGETHER] for start in range(0, len(values), TOGETHER)]

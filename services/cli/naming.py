"""Labels for the features of an answer, from the catalogue where one runs; without it the answer stands as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from services.cli.clients.features import FeatureClient
from services.cli.clients.health import is_serving
from services.cli.clients.inference import InferenceClient
from services.rpc.channel import RpcFailure

DEADLINE_SECONDS = 1.0
"""Of each call for labels: nobody waits longer for what is only beside the answer."""
_PROBE_SECONDS = 0.5

T = TypeVar("T")


async def labelled(
    answer: Awaitable[T],
    features: Callable[[T], Iterable[int]],
    inference: InferenceClient,
    address: str,
) -> tuple[T, dict[int, str]]:
    """The answer of the inference service, and labels of those features of it by index, as far as there are some.

    The catalogue at `address` is asked meanwhile whether it knows the SAE that is served, with the same weights.
    """
    async with FeatureClient(address, DEADLINE_SECONDS) as catalogue:
        finding = asyncio.create_task(_known_sae(inference, catalogue))
        try:
            answered = await answer
            return answered, await _labels(catalogue, finding, features(answered))
        finally:
            finding.cancel()
            await asyncio.gather(finding, return_exceptions=True)


async def _labels(
    catalogue: FeatureClient, finding: Awaitable[str], features: Iterable[int]
) -> dict[int, str]:
    try:
        sae = await finding
        return await catalogue.labels(sae, features) if sae else {}
    except RpcFailure:
        return {}


async def _known_sae(inference: InferenceClient, catalogue: FeatureClient) -> str:
    """The id of the SAE that is meant; empty where the catalogue does not answer or has it with other weights."""
    if not await is_serving(catalogue.address, _PROBE_SECONDS):
        return ""
    sae, catalogs = await asyncio.gather(inference.sae(), catalogue.catalogs())
    known = {(each.sae, each.weights_digest) for each in catalogs}
    return sae.id if sae is not None and (sae.id, sae.weights_digest) in known else ""

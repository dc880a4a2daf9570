"""The connections of one process to inference and features."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from services.autosteer.clients.features import CatalogueClient
from services.autosteer.clients.inference import InferenceClient
from services.rpc.channel import connect


@asynccontextmanager
async def clients_of(
    inference: str, features: str
) -> AsyncIterator[tuple[Callable[[str], InferenceClient], CatalogueClient]]:
    """What makes a client of inference for an owner's job, and the client of features. Connects at first use."""
    async with connect(inference) as to_inference, connect(features) as to_features:
        yield lambda owner: InferenceClient(to_inference, owner), CatalogueClient(to_features)

"""The connections of one process to inference and features."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from services.autosteer.clients.features import CatalogueClient
from services.autosteer.clients.inference import InferenceClient
from services.rpc.by_model import connect_by_model
from services.rpc.channel import connect
from services.rpc.tls import TlsSettings


@asynccontextmanager
async def clients_of(
    inference: str,
    features: str,
    tls: TlsSettings | None = None,
    by_model: Mapping[str, str] | None = None,
) -> AsyncIterator[tuple[Callable[[str], InferenceClient], CatalogueClient]]:
    """What makes a client of inference for an owner's job, and the client of features. Connects at first use.

    `by_model` says where inference listens for models that have servers of their own. Raises OSError where a file of
    `tls` is of no use.
    """
    async with (
        connect_by_model(inference, by_model or {}, tls=tls) as to_inference,
        connect(features, tls=tls) as to_features,
    ):
        yield lambda owner: InferenceClient(to_inference, owner), CatalogueClient(to_features)

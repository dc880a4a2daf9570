"""Calls by which features come into the catalogue; RpcFailure where one fails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import grpc

from hearth.v1 import feature_service_pb2 as pb
from hearth.v1 import feature_service_pb2_grpc as pb_grpc
from services.cli.clients.channel import Client
from services.cli.wire import features, imports
from services.features.feature import Catalog
from services.features.requests import Begun, Upsert
from services.rpc.channel import rpc_failures
from services.saelab.text_vectors import TextVectors

Batch = pb.BatchUpsertFeaturesRequest
"""Features that are written together."""


class ImportClient(Client):
    """Imports features into the catalogue."""

    def _open(self, channel: grpc.aio.Channel) -> None:
        self._stub: pb_grpc.FeatureServiceAsyncStub = pb_grpc.FeatureServiceStub(channel)

    async def begin(self, catalog: Catalog, content_digest: str, *, restart: bool = False) -> Begun:
        """Begins an import, or goes on with one."""
        request = imports.begin_request(catalog, content_digest, restart=restart)
        with rpc_failures():
            return imports.begun_from_proto(await self._stub.BeginImport(request))

    async def upsert(self, batch: Batch) -> int:
        """Writes one batch; returns how many of the first features are stored."""
        with rpc_failures():
            return (await self._stub.BatchUpsertFeatures(batch)).next_index

    async def commit(self, import_id: str) -> Catalog:
        """Shows an import."""
        with rpc_failures():
            response = await self._stub.CommitImport(pb.CommitImportRequest(import_id=import_id))
        return features.catalog_from_proto(response.catalog)


def batches(upserts: Iterable[Upsert], begun: Begun, vectors: TextVectors | None) -> Iterator[Batch]:
    """The features of an import, for `upsert`."""
    return imports.upsert_requests(upserts, begun, vectors)

"""FeatureService over gRPC: each method decodes, makes one call, encodes."""

from __future__ import annotations

from typing import Any

import grpc

from hearth.v1 import feature_service_pb2 as pb
from hearth.v1 import feature_service_pb2_grpc as rpc
from services.features.catalogue import Catalogue
from services.features.off_loop import off_loop
from services.features.wire import decode, encode
from services.rpc.calls import owner

Context = grpc.aio.ServicerContext[Any, Any]


class FeatureServicer(rpc.FeatureServiceServicer):
    """Answers calls from a catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def ListCatalogs(
        self, request: pb.ListCatalogsRequest, context: Context
    ) -> pb.ListCatalogsResponse:
        """See the proto."""
        catalogs, token = await self._catalogue.list_catalogs(*decode.catalogs(request))
        return pb.ListCatalogsResponse(catalogs=map(encode.catalog, catalogs), next_page_token=token)

    async def GetFeature(self, request: pb.GetFeatureRequest, context: Context) -> pb.GetFeatureResponse:
        """See the proto."""
        call = decode.get(request)
        (feature,) = await self._catalogue.get(call.names, full=call.full)
        return pb.GetFeatureResponse(feature=encode.feature(feature))

    async def BatchGetFeatures(
        self, request: pb.BatchGetFeaturesRequest, context: Context
    ) -> pb.BatchGetFeaturesResponse:
        """See the proto."""
        call = decode.batch_get(request)
        found = await self._catalogue.get(call.names, full=call.full, allow_missing=call.allow_missing)
        return await off_loop(found, lambda: encode.features(found))

    async def ListFeatures(
        self, request: pb.ListFeaturesRequest, context: Context
    ) -> pb.ListFeaturesResponse:
        """See the proto."""
        features, token = await self._catalogue.page(decode.page(request))
        return await off_loop(features, lambda: encode.page(features, token))

    async def SearchFeatures(
        self, request: pb.SearchFeaturesRequest, context: Context
    ) -> pb.SearchFeaturesResponse:
        """See the proto."""
        hits = await self._catalogue.search(decode.search(request))
        return pb.SearchFeaturesResponse(hits=await off_loop(hits, lambda: encode.hits(hits)))

    async def RerankFeatures(
        self, request: pb.RerankFeaturesRequest, context: Context
    ) -> pb.RerankFeaturesResponse:
        """See the proto."""
        call = await off_loop(request.keys or request.ids, lambda: decode.rerank(request))
        hits = await self._catalogue.rerank(call)
        return pb.RerankFeaturesResponse(hits=await off_loop(hits, lambda: encode.hits(hits)))

    async def FindNeighbors(
        self, request: pb.FindNeighborsRequest, context: Context
    ) -> pb.FindNeighborsResponse:
        """See the proto."""
        call = await off_loop(request.keys or request.ids, lambda: decode.neighbors(request))
        hits = await self._catalogue.neighbors(call)
        return pb.FindNeighborsResponse(hits=await off_loop(hits, lambda: encode.hits(hits)))

    async def BeginImport(self, request: pb.BeginImportRequest, context: Context) -> pb.BeginImportResponse:
        """See the proto."""
        return encode.begun(await self._catalogue.begin_import(decode.begin(request)))

    async def BatchUpsertFeatures(
        self, request: pb.BatchUpsertFeaturesRequest, context: Context
    ) -> pb.BatchUpsertFeaturesResponse:
        """See the proto."""
        call = await off_loop(request.features, lambda: decode.upsert(request))
        return encode.upserted(await self._catalogue.upsert(call))

    async def CommitImport(
        self, request: pb.CommitImportRequest, context: Context
    ) -> pb.CommitImportResponse:
        """See the proto."""
        catalog = await self._catalogue.commit_import(decode.commit(request))
        return pb.CommitImportResponse(catalog=encode.catalog(catalog))

    async def UpdateFeature(
        self, request: pb.UpdateFeatureRequest, context: Context
    ) -> pb.UpdateFeatureResponse:
        """See the proto."""
        feature = await self._catalogue.update(decode.update(request, owner(context)))
        return pb.UpdateFeatureResponse(feature=encode.feature(feature))

    async def ListFeatureRevisions(
        self, request: pb.ListFeatureRevisionsRequest, context: Context
    ) -> pb.ListFeatureRevisionsResponse:
        """See the proto."""
        return encode.revisions(*await self._catalogue.revisions(decode.revisions(request)))

    async def DeleteCatalog(
        self, request: pb.DeleteCatalogRequest, context: Context
    ) -> pb.DeleteCatalogResponse:
        """See the proto."""
        await self._catalogue.delete(decode.delete(request))
        return pb.DeleteCatalogResponse()

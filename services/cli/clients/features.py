"""Calls of the catalogue of features: plain data in, plain data out, RpcFailure where a call fails."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterable, Sequence

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from hearth.v1 import feature_service_pb2 as pb
from hearth.v1 import feature_service_pb2_grpc as pb_grpc
from hearth.v1.steering_pb2 import FeatureKey
from services.cli.answers import Revision
from services.cli.clients.channel import Client, pages
from services.cli.questions import FeatureName
from services.cli.wire import features as wire
from services.features.feature import Catalog, Feature, FeatureFilter, Hit, Relation, SearchMode
from services.rpc.channel import rpc_failures

_AT_ONCE = 1000
"""Features in one BatchGetFeatures."""


class FeatureClient(Client):
    """Calls the catalogue."""

    def _open(self, channel: grpc.aio.Channel) -> None:
        self._stub: pb_grpc.FeatureServiceAsyncStub = pb_grpc.FeatureServiceStub(channel)

    async def catalogs(self) -> list[Catalog]:
        """All SAEs whose features are in the catalogue."""
        answered = pages(self._stub.ListCatalogs, pb.ListCatalogsRequest())
        return [wire.catalog_from_proto(catalog) async for page in answered for catalog in page.catalogs]

    async def feature(self, name: FeatureName) -> Feature:
        """Everything that is known of a feature."""
        request = pb.GetFeatureRequest(view=pb.FEATURE_VIEW_FULL)
        _set_name(request, name)
        with rpc_failures():
            return wire.feature_from_proto((await self._stub.GetFeature(request)).feature)

    async def labels(self, sae: str, indices: Iterable[int]) -> dict[int, str]:
        """Labels of features of one SAE, as far as they are in the catalogue."""
        wanted, found = list(dict.fromkeys(indices)), dict[int, str]()
        for start in range(0, len(wanted), _AT_ONCE):
            request = pb.BatchGetFeaturesRequest(
                keys=wire.keys_of(sae, wanted[start : start + _AT_ONCE]), allow_missing=True
            )
            with rpc_failures():
                response = await self._stub.BatchGetFeatures(request)
            found.update((each.key.index, each.label) for each in response.features if each.label)
        return found

    async def listed(self, sae: str, which: FeatureFilter, *, full: bool = False) -> AsyncIterator[Feature]:
        """The features of an SAE in order of index."""
        view = pb.FEATURE_VIEW_FULL if full else pb.FEATURE_VIEW_BASIC
        request = pb.ListFeaturesRequest(sae=sae, filter=wire.filter_message(which), view=view)
        async for page in pages(self._stub.ListFeatures, request):
            for message in page.features:
                yield wire.feature_from_proto(message)

    async def search(
        self, query: str, *, sae: str, top_k: int, which: FeatureFilter, mode: SearchMode
    ) -> list[Hit]:
        """Features by meaning or by word, best first."""
        request = pb.SearchFeaturesRequest(
            query=query,
            sae=sae,
            top_k=top_k,
            filter=wire.filter_message(which),
            mode=pb.SearchMode.Value(f"SEARCH_MODE_{mode.name}"),
        )
        with rpc_failures():
            return list(map(wire.hit_from_proto, (await self._stub.SearchFeatures(request)).hits))

    async def neighbors(
        self, names: Sequence[FeatureName], *, relation: Relation, top_k: int, which: FeatureFilter
    ) -> list[Hit]:
        """Features like one, or like the centre of several."""
        request = pb.FindNeighborsRequest(
            keys=[FeatureKey(sae=name.sae, index=name.index) for name in names if not name.id],
            ids=[name.id for name in names if name.id],
            relation=pb.NeighborRelation.Value(f"NEIGHBOR_RELATION_{relation.name}"),
            top_k=top_k,
            filter=wire.filter_message(which),
        )
        with rpc_failures():
            return list(map(wire.hit_from_proto, (await self._stub.FindNeighbors(request)).hits))

    async def revisions(self, name: FeatureName) -> list[Revision]:
        """What people called a feature, newest first."""
        request = pb.ListFeatureRevisionsRequest()
        _set_name(request, name)
        answered = pages(self._stub.ListFeatureRevisions, request)
        return [wire.revision_from_proto(each) async for page in answered for each in page.revisions]

    async def rename(
        self, feature: Feature, *, label: str | None, description: str | None, note: str, owner: str
    ) -> Feature:
        """Changes what a feature is called, unless somebody else did since it was read."""
        changes = {"label": label, "description": description}
        key = FeatureKey(sae=feature.sae, index=feature.index)
        request = pb.UpdateFeatureRequest(
            feature=pb.Feature(key=key, label=label or "", description=description or ""),
            update_mask=FieldMask(paths=[name for name, value in changes.items() if value is not None]),
            etag=feature.etag,
            note=note,
            request_id=str(uuid.uuid4()),
        )
        with rpc_failures():
            response = await self._stub.UpdateFeature(request, metadata=self.owned(owner))
        return wire.feature_from_proto(response.feature)

    async def delete_catalog(self, sae: str) -> None:
        """Removes an SAE's features."""
        with rpc_failures():
            await self._stub.DeleteCatalog(pb.DeleteCatalogRequest(sae=sae))


def _set_name(request: pb.GetFeatureRequest | pb.ListFeatureRevisionsRequest, name: FeatureName) -> None:
    if name.id:
        request.id = name.id
    else:
        request.key.CopyFrom(FeatureKey(sae=name.sae, index=name.index))

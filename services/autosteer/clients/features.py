"""The catalogue over gRPC."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from hearth.v1 import feature_service_pb2 as pb
from hearth.v1 import feature_service_pb2_grpc as rpc
from hearth.v1 import steering_pb2
from services.autosteer.clients.messages import entry, hit
from services.autosteer.clients.retrying import tried
from services.autosteer.upstream import Entry

WHAT = "features"
TOGETHER = 500
"""Features in one request."""
LONGEST_QUERY = 2_000
"""Characters that a query may have."""


class CatalogueClient:
    """Calls the features process."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: rpc.FeatureServiceAsyncStub = rpc.FeatureServiceStub(channel)

    async def search(self, sae: str, query: str, top_k: int) -> list[Entry]:
        """See upstream.FeatureCatalogue."""
        request = pb.SearchFeaturesRequest(query=query[:LONGEST_QUERY], sae=sae, top_k=top_k)
        answer = await tried(WHAT, lambda: self._stub.SearchFeatures(request))
        return [hit(each) for each in answer.hits]

    async def rerank(self, sae: str, query: str, features: Sequence[int]) -> dict[int, float]:
        """See upstream.FeatureCatalogue."""
        if not features:
            return {}
        request = pb.RerankFeaturesRequest(
            query=query[:LONGEST_QUERY], keys=_keys(sae, features), mode=pb.SEARCH_MODE_LABEL
        )
        answer = await tried(WHAT, lambda: self._stub.RerankFeatures(request))
        return {each.feature.key.index: each.label_similarity for each in answer.hits}

    async def neighbors(self, sae: str, features: Sequence[int], top_k: int) -> list[Entry]:
        """See upstream.FeatureCatalogue."""
        request = pb.FindNeighborsRequest(
            keys=_keys(sae, features), relation=pb.NEIGHBOR_RELATION_DECODER, top_k=top_k
        )
        answer = await tried(WHAT, lambda: self._stub.FindNeighbors(request))
        return [entry(each.feature) for each in answer.hits]

    async def entries(self, sae: str, features: Sequence[int]) -> list[Entry]:
        """See upstream.FeatureCatalogue."""
        found: list[Entry] = []
        for start in range(0, len(features), TOGETHER):
            request = pb.BatchGetFeaturesRequest(
                keys=_keys(sae, features[start : start + TOGETHER]),
                view=pb.FEATURE_VIEW_BASIC,
                allow_missing=True,
            )
            answer = await tried(WHAT, lambda r=request: self._stub.BatchGetFeatures(r))  # type: ignore[misc]
            found += [entry(each) for each in answer.features if each.etag]
        return found


def _keys(sae: str, features: Sequence[int]) -> list[steering_pb2.FeatureKey]:
    return [steering_pb2.FeatureKey(sae=sae, index=index) for index in features]

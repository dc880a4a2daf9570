"""The catalogue: features by meaning, by likeness, by index."""

from __future__ import annotations

from collections.abc import Iterable

from hearth_client.features import Feature, FeatureGroup
from hearth_client.operations.methods import (
    BATCH_GET_FEATURES,
    FIND_NEIGHBORS,
    RERANK_FEATURES,
    SEARCH_FEATURES,
)
from hearth_client.operations.models import Session, Target
from hearth_client.operations.steps import Operation
from hearth_client.v1 import feature_service_pb2 as pb
from hearth_client.v1 import steering_pb2
from hearth_client.variant import Variant
from hearth_client.wire.steering import key

AT_ONCE = 1000
"""Features in one BatchGetFeatures."""


def search(
    session: Session, query: str, model: str | Variant, top_k: int, which: pb.FeatureFilter | None
) -> Operation[FeatureGroup]:
    """Features by meaning and by word, best first."""
    target = yield from session.target(model)
    request = pb.SearchFeaturesRequest(query=query, sae=target.sae, top_k=top_k, filter=which)
    answer = yield from session.patience.ask(SEARCH_FEATURES, request)
    return _group(answer.hits, target)


def rerank(
    session: Session, features: Iterable[Feature], query: str, model: str | Variant, top_k: int
) -> Operation[FeatureGroup]:
    """Features in order of how well their labels fit a query."""
    target = yield from session.target(model)
    request = pb.RerankFeaturesRequest(
        query=query, keys=_keys(features, target), top_k=top_k, mode=pb.SEARCH_MODE_LABEL
    )
    answer = yield from session.patience.ask(RERANK_FEATURES, request)
    return _group(answer.hits, target)


def neighbors(
    session: Session, features: Iterable[Feature], model: str | Variant, top_k: int
) -> Operation[FeatureGroup]:
    """Features that push the model in similar directions."""
    target = yield from session.target(model)
    request = pb.FindNeighborsRequest(keys=_keys(features, target), top_k=top_k)
    answer = yield from session.patience.ask(FIND_NEIGHBORS, request)
    return _group(answer.hits, target)


def lookup(session: Session, indices: Iterable[int], model: str | Variant) -> Operation[dict[int, Feature]]:
    """Features by index."""
    target = yield from session.target(model)
    return (yield from known(session, target, indices, allow_missing=False))


def known(
    session: Session, target: Target, indices: Iterable[int], *, allow_missing: bool = True
) -> Operation[dict[int, Feature]]:
    """Features by index; of those that the catalogue lacks, if they may be missing, nothing but the index is known."""
    wanted, found = list(dict.fromkeys(indices)), dict[int, Feature]()
    for start in range(0, len(wanted), AT_ONCE):
        keys = [
            steering_pb2.FeatureKey(sae=target.sae, index=each) for each in wanted[start : start + AT_ONCE]
        ]
        request = pb.BatchGetFeaturesRequest(keys=keys, allow_missing=allow_missing)
        answer = yield from session.patience.ask(BATCH_GET_FEATURES, request)
        found.update((each.key.index, feature_of(each, target)) for each in answer.features)
    return found


def feature_of(message: pb.Feature, target: Target, relevance: float | None = None) -> Feature:
    """A feature of the catalogue."""
    scale = message.scale if target.has_scales and message.scale > 0 else 1.0
    return Feature(
        message.key.index, message.label, message.key.sae, message.id, scale, relevance, details=message
    )


def _group(hits: Iterable[pb.FeatureHit], target: Target) -> FeatureGroup:
    return FeatureGroup(
        feature_of(hit.feature, target, hit.label_similarity if hit.HasField("label_similarity") else None)
        for hit in hits
    )


def _keys(features: Iterable[Feature], target: Target) -> Iterable[steering_pb2.FeatureKey]:
    for each in features:
        named = key(each)
        named.sae = named.sae or target.sae
        yield named

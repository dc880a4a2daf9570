"""Messages of the catalogue: requests from bodies, and what the answers say of features."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from hearth.v1 import feature_service_pb2 as pb
from hearth.v1 import steering_pb2
from services.gateway.ember.bodies import NeighborsBody
from services.gateway.ember.cards import Card


def search(query: str, sae: str, top_k: int) -> pb.SearchFeaturesRequest:
    """By meaning and by word."""
    return pb.SearchFeaturesRequest(query=query, sae=sae, top_k=top_k)


def rerank(query: str, ids: Sequence[str], top_k: int) -> pb.RerankFeaturesRequest:
    """By the meaning of labels: a cosine, which is also what the answer states."""
    return pb.RerankFeaturesRequest(query=query, ids=ids, top_k=top_k, mode=pb.SEARCH_MODE_LABEL)


def neighbors(body: NeighborsBody, sae: str) -> pb.FindNeighborsRequest:
    """By decoder direction."""
    return pb.FindNeighborsRequest(keys=_keys(sae, body.feature_indices), top_k=body.top_k)


def by_index(sae: str, indices: Iterable[int], *, allow_missing: bool) -> pb.BatchGetFeaturesRequest:
    """Features of one SAE."""
    return pb.BatchGetFeaturesRequest(keys=_keys(sae, indices), allow_missing=allow_missing)


def by_id(ids: Iterable[str]) -> pb.BatchGetFeaturesRequest:
    """Features of any SAE, as far as they are in the catalogue."""
    return pb.BatchGetFeaturesRequest(ids=ids, allow_missing=True)


def cards(answer: pb.BatchGetFeaturesResponse, *, has_scales: bool = True) -> list[Card]:
    """In the order of the request; those without a key, of which nothing is known, left out."""
    return [_card(each, has_scales) for each in answer.features if each.HasField("key")]


def hit_cards(hits: Iterable[pb.FeatureHit]) -> list[Card]:
    """What was found."""
    return [_card(hit.feature, True) for hit in hits]


def relevant(hits: Iterable[pb.FeatureHit]) -> list[dict[str, Any]]:
    """What was found, each with the cosine of query and label."""
    return [_card(hit.feature, True).named() | {"relevance": round(hit.label_similarity, 6)} for hit in hits]


def _card(feature: pb.Feature, has_scales: bool) -> Card:
    scale = feature.scale if has_scales and feature.scale > 0 else 1.0
    return Card(feature.id, feature.key.index, feature.label, scale)


def _keys(sae: str, indices: Iterable[int]) -> Iterable[steering_pb2.FeatureKey]:
    return (steering_pb2.FeatureKey(sae=sae, index=index) for index in indices)

"""Requests from messages: what is not allowed is refused here, naming the field, before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hearth.v1 import feature_service_pb2 as pb
from hearth.v1 import steering_pb2
from services.errors import InvalidField
from services.features.feature import Relation, SearchMode
from services.features.requests import (
    BeginCall,
    ListCall,
    Names,
    NeighborsCall,
    RerankCall,
    RevisionsCall,
    SearchCall,
    UpdateCall,
    Upsert,
    UpsertCall,
)
from services.features.store.base import Vector
from services.features.wire import decode_feature, numbers
from services.features.wire.decode_feature import MAX_ID
from services.rpc import fields
from services.steering.conditions import FeatureKey
from services.steering.wire import feature_from_proto

MAX_QUERY = 2000
MAX_PAGE, MAX_FULL_PAGE = 1000, 100
MAX_BATCH = 1000
MAX_HITS, DEFAULT_HITS = 100, 10
MAX_RERANKED, MAX_RERANKED_HITS = 8192, 1000
MAX_GROUP, MAX_NEIGHBORS = 2048, 1000
MAX_DIGEST, MAX_IMPORT_ID, MAX_TOKEN, MAX_NOTE = 128, 20_000, 500, 2000
MAX_WIDTH = 16_384
"""Numbers of a decoder direction or of a text's vector."""
MAX_TEXT_VECTORS = 4000
DIGEST_BYTES = 32

_VIEWS = {pb.FEATURE_VIEW_UNSPECIFIED: False, pb.FEATURE_VIEW_BASIC: False, pb.FEATURE_VIEW_FULL: True}
_MODES = {
    pb.SEARCH_MODE_UNSPECIFIED: SearchMode.HYBRID,
    pb.SEARCH_MODE_HYBRID: SearchMode.HYBRID,
    pb.SEARCH_MODE_LABEL: SearchMode.LABEL,
    pb.SEARCH_MODE_CONTEXT: SearchMode.CONTEXT,
    pb.SEARCH_MODE_LEXICAL: SearchMode.LEXICAL,
}
_RELATIONS = {
    pb.NEIGHBOR_RELATION_UNSPECIFIED: Relation.DECODER,
    pb.NEIGHBOR_RELATION_DECODER: Relation.DECODER,
    pb.NEIGHBOR_RELATION_LABEL: Relation.LABEL,
    pb.NEIGHBOR_RELATION_COACTIVATION: Relation.COACTIVATION,
}
_UPDATABLE = ("label", "description")


@dataclass(frozen=True, slots=True)
class GetCall:
    """Features by name."""

    names: Names
    full: bool
    allow_missing: bool = False


def catalogs(request: pb.ListCatalogsRequest) -> tuple[int, str]:
    """Page size and token of a ListCatalogsRequest."""
    return fields.page_size(request.page_size, fields.DEFAULT_PAGE), _token(request.page_token)


def get(request: pb.GetFeatureRequest) -> GetCall:
    """A GetFeatureRequest: a single feature comes whole unless BASIC is asked for."""
    full = _view(request.view) or request.view == pb.FEATURE_VIEW_UNSPECIFIED
    return GetCall(_name(request), full)


def batch_get(request: pb.BatchGetFeaturesRequest) -> GetCall:
    """A BatchGetFeaturesRequest."""
    full = _view(request.view)
    names = _names(request, MAX_FULL_PAGE if full else MAX_BATCH)
    return GetCall(names, full, request.allow_missing)


def page(request: pb.ListFeaturesRequest) -> ListCall:
    """A ListFeaturesRequest."""
    full = _view(request.view)
    most = MAX_FULL_PAGE if full else MAX_PAGE
    return ListCall(
        sae=fields.text(request.sae, "sae", MAX_ID),
        page_size=fields.page_size(request.page_size, most),
        page_token=_token(request.page_token),
        filter=decode_feature.feature_filter(request.filter),
        full=full,
    )


def search(request: pb.SearchFeaturesRequest) -> SearchCall:
    """A SearchFeaturesRequest."""
    return SearchCall(
        query=_query(request.query),
        sae=fields.text(request.sae, "sae", MAX_ID),
        top_k=numbers.size(request.top_k, DEFAULT_HITS, MAX_HITS, "top_k"),
        filter=decode_feature.feature_filter(request.filter),
        mode=_mode(request.mode),
        full=_view(request.view),
    )


def rerank(request: pb.RerankFeaturesRequest) -> RerankCall:
    """A RerankFeaturesRequest."""
    top_k = numbers.size(request.top_k, MAX_RERANKED_HITS, MAX_RERANKED_HITS, "top_k")
    return RerankCall(_query(request.query), _names(request, MAX_RERANKED), top_k, _mode(request.mode))


def neighbors(request: pb.FindNeighborsRequest) -> NeighborsCall:
    """A FindNeighborsRequest."""
    if request.relation not in _RELATIONS:
        raise InvalidField("relation", f"{request.relation} is not a value of this enum")
    return NeighborsCall(
        _names(request, MAX_GROUP),
        _RELATIONS[request.relation],
        numbers.size(request.top_k, DEFAULT_HITS, MAX_NEIGHBORS, "top_k"),
        decode_feature.feature_filter(request.filter),
    )


def begin(request: pb.BeginImportRequest) -> BeginCall:
    """A BeginImportRequest."""
    digest = fields.text(request.content_digest, "content_digest", MAX_DIGEST, least=1)
    return BeginCall(decode_feature.catalog(request.catalog), digest, request.restart)


def upsert(request: pb.BatchUpsertFeaturesRequest) -> UpsertCall:
    """A BatchUpsertFeaturesRequest."""
    numbers.count(request.features, 1, MAX_BATCH, "features", "features")
    upserts = [_upsert(message, f"features[{n}]") for n, message in enumerate(request.features)]
    seen: dict[int, int] = {}
    for number, each in enumerate(upserts):
        if each.feature.sae != upserts[0].feature.sae:
            raise InvalidField(f"features[{number}].feature.key.sae", "allowed: one SAE in a call")
        if (first := seen.setdefault(each.feature.index, number)) != number:
            raise InvalidField(f"features[{number}].feature.key", f"is that of features[{first}] already")
    return UpsertCall(
        upserts,
        fields.text(request.import_id, "import_id", MAX_IMPORT_ID),
        fields.text(request.encoder, "encoder", MAX_ID),
        _text_vectors(request.text_vectors),
    )


def commit(request: pb.CommitImportRequest) -> str:
    """The import of a CommitImportRequest."""
    return fields.text(request.import_id, "import_id", MAX_IMPORT_ID, least=1)


def update(request: pb.UpdateFeatureRequest, owner: str) -> UpdateCall:
    """An UpdateFeatureRequest."""
    names = _feature_name(request.feature)
    paths = fields.mask(request.update_mask.paths, _UPDATABLE)
    label = fields.text(request.feature.label, "feature.label", decode_feature.MAX_LABEL)
    if "label" in paths and not label.strip():
        raise InvalidField("feature.label", "is empty; begin it with `unlabelled: ` to say that it is wrong")
    description = fields.text(
        request.feature.description, "feature.description", decode_feature.MAX_DESCRIPTION
    )
    return UpdateCall(
        names,
        label=label if "label" in paths else None,
        description=description if "description" in paths else None,
        etag=fields.etag(request.etag),
        note=fields.text(request.note, "note", MAX_NOTE),
        request_id=fields.optional_uuid(request.request_id, "request_id"),
        owner=owner.replace("\x00", ""),
    )


def revisions(request: pb.ListFeatureRevisionsRequest) -> RevisionsCall:
    """A ListFeatureRevisionsRequest."""
    size = fields.page_size(request.page_size, fields.DEFAULT_PAGE)
    return RevisionsCall(_name(request), size, _token(request.page_token))


def delete(request: pb.DeleteCatalogRequest) -> str:
    """The SAE of a DeleteCatalogRequest."""
    return fields.text(request.sae, "sae", MAX_ID, least=1)


def _name(request: pb.GetFeatureRequest | pb.ListFeatureRevisionsRequest) -> Names:
    match request.WhichOneof("name"):
        case "key":
            return Names(keys=(_key(request.key, "key"),), fields=("key",))
        case "id":
            return Names(ids=(fields.uuid(request.id, "id"),), fields=("id",))
        case _:
            raise InvalidField("name", "it is not set; allowed: one of key, id")


def _feature_name(message: pb.Feature) -> Names:
    """The feature that an update means."""
    if message.HasField("key"):
        key = _key(message.key, "feature.key")
        if message.id:
            raise InvalidField("feature.id", "given together with the key; allowed: one of them")
        return Names(keys=(key,), fields=("feature.key",))
    if not message.id:
        raise InvalidField("feature", "has neither key nor id; allowed: one of them")
    return Names(ids=(fields.uuid(message.id, "feature.id"),), fields=("feature.id",))


def _names(
    request: pb.BatchGetFeaturesRequest | pb.RerankFeaturesRequest | pb.FindNeighborsRequest, most: int
) -> Names:
    if request.ids and request.keys:
        raise InvalidField("ids", "given together with keys; allowed: one of them")
    if request.ids:
        numbers.count(request.ids, 1, most, "ids", "features")
        paths = tuple(f"ids[{n}]" for n in range(len(request.ids)))
        return Names(ids=tuple(map(fields.uuid, request.ids, paths)), fields=paths)
    numbers.count(request.keys, 1, most, "keys", "features")
    paths = tuple(f"keys[{n}]" for n in range(len(request.keys)))
    return Names(keys=tuple(map(_key, request.keys, paths)), fields=paths)


def _key(message: steering_pb2.FeatureKey, field: str) -> FeatureKey:
    fields.text(message.sae, f"{field}.sae", MAX_ID)
    return feature_from_proto(message)


def _upsert(message: pb.FeatureUpsert, field: str) -> Upsert:
    feature = decode_feature.feature(message.feature, f"{field}.feature")
    if not message.decoder:
        return Upsert(feature)
    return Upsert(feature, _vector(message.decoder, f"{field}.decoder"))


def _text_vectors(messages: Sequence[pb.TextVector]) -> Mapping[bytes, Vector]:
    numbers.count(messages, 0, MAX_TEXT_VECTORS, "text_vectors", "vectors")
    vectors: dict[bytes, Vector] = {}
    for number, message in enumerate(messages):
        field = f"text_vectors[{number}]"
        if len(message.text_digest) != DIGEST_BYTES:
            raise InvalidField(
                f"{field}.text_digest", f"has {len(message.text_digest)} bytes; allowed: {DIGEST_BYTES}"
            )
        vectors[message.text_digest] = _vector(message.vector, f"{field}.vector")
    return vectors


def _vector(values: Sequence[float], field: str) -> Vector:
    numbers.count(values, 1, MAX_WIDTH, field, "numbers")
    vector: Vector = np.array(values, np.float32)
    if not np.isfinite(vector).all():
        raise InvalidField(field, "holds a number that is not finite; allowed: finite numbers")
    return vector


def _query(value: str) -> str:
    if not value.strip():
        raise InvalidField("query", "is empty; allowed: 1 to 2000 characters")
    return fields.text(value, "query", MAX_QUERY, least=1)


def _token(value: str) -> str:
    return fields.text(value, "page_token", MAX_TOKEN)


def _view(value: pb.FeatureView.ValueType) -> bool:
    if value not in _VIEWS:
        raise InvalidField("view", f"{value} is not a value of this enum")
    return _VIEWS[value]


def _mode(value: pb.SearchMode.ValueType) -> SearchMode:
    if value not in _MODES:
        raise InvalidField("mode", f"{value} is not a value of this enum")
    return _MODES[value]

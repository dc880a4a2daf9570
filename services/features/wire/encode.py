"""Answers into messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from google.protobuf import timestamp_pb2

from hearth.v1 import feature_service_pb2 as pb
from hearth.v1 import steering_pb2
from services.errors import InvalidField
from services.features.feature import Catalog, Example, Feature, Hit, Neighbor, TokenWeight
from services.features.payload import RECENT
from services.features.requests import Absent, Begun, Upserted
from services.features.wire import decode_feature

if TYPE_CHECKING:  # else clients that write features would load SQLAlchemy
    from services.features.revisions import Revision

MAX_BYTES = 4 << 20
"""Of an answer: more would not reach a client that keeps to gRPC's own limit."""
_CLASSES = {value: number for number, value in decode_feature.CLASSES.items()}
_KINDS = {value: number for number, value in decode_feature.KINDS.items()}
_ROLES = {value: number for number, value in decode_feature.ROLES.items()}


def catalog(value: Catalog) -> pb.Catalog:
    """A catalogue."""
    return pb.Catalog(
        sae=value.sae,
        model=value.model,
        hook_point=value.hook_point,
        layer=value.layer,
        weights_digest=value.weights_digest,
        feature_count=value.feature_count,
        histogram_edges=value.histogram_edges,
        encoder=value.encoder,
        import_time=_time(value.imported),
    )


def feature(value: Feature | Absent) -> pb.Feature:
    """A feature, as much of it as was read; one that is not there has key and id alone, or the id."""
    if isinstance(value, Absent):
        key = value.key
        return pb.Feature(
            id=value.id, key=steering_pb2.FeatureKey(sae=key.sae, index=key.index) if key else None
        )
    return _whole(value) if value.examples else _recent(value)


@lru_cache(RECENT)
def _recent(value: Feature) -> pb.Feature:
    """A message that nobody changes: it is copied into answers."""
    return _whole(value)


def _whole(value: Feature) -> pb.Feature:
    return pb.Feature(
        key=steering_pb2.FeatureKey(sae=value.sae, index=value.index),
        id=value.id,
        label=value.label,
        description=value.description,
        label_source=value.label_source,
        label_score=value.label_score,
        label_fuzzing=value.label_fuzzing,
        label_null=value.label_null,
        feature_class=_CLASSES[value.feature_class],
        density=value.density,
        scale=value.scale,
        max_activation=value.max_activation,
        output_score=value.output_score,
        steerability=value.steerability,
        promoted=_tokens(value.promoted),
        suppressed=_tokens(value.suppressed),
        histogram=value.histogram,
        doses=[
            pb.Dose(strength=dose.strength, gain=dose.gain, loss=dose.loss, distinct=dose.distinct)
            for dose in value.doses
        ],
        examples=map(_example, value.examples),
        decoder_neighbors=_neighbors(value.decoder_neighbors),
        coactivation_neighbors=_neighbors(value.coactivation_neighbors),
        etag=value.etag,
        update_time=_time(value.updated),
        revision=value.revision,
    )


def features(values: Iterable[Feature | Absent]) -> pb.BatchGetFeaturesResponse:
    """Features in order. Raises InvalidField where they are too many for one message."""
    answer = pb.BatchGetFeaturesResponse(features=map(feature, values))
    _check_size(answer.ByteSize())
    return answer


def page(values: Sequence[Feature], next_page_token: str) -> pb.ListFeaturesResponse:
    """A page of features."""
    answer = pb.ListFeaturesResponse(features=map(feature, values), next_page_token=next_page_token)
    _check_size(answer.ByteSize())
    return answer


def hits(values: Iterable[Hit]) -> list[pb.FeatureHit]:
    """What was found. Raises InvalidField where it is too much for one message."""
    messages = [
        pb.FeatureHit(
            feature=feature(hit.feature),
            score=hit.score,
            label_similarity=hit.label_similarity,
            context_similarity=hit.context_similarity,
            lexical_score=hit.lexical_score,
        )
        for hit in values
    ]
    _check_size(sum(message.ByteSize() + 6 for message in messages))
    return messages


def begun(value: Begun) -> pb.BeginImportResponse:
    """An import that has begun."""
    return pb.BeginImportResponse(
        import_id=value.import_id,
        next_index=value.next_index,
        complete=value.complete,
        encoder=value.encoder,
    )


def upserted(value: Upserted) -> pb.BatchUpsertFeaturesResponse:
    """What was written."""
    return pb.BatchUpsertFeaturesResponse(
        created=value.created, updated=value.updated, next_index=value.next_index
    )


def revisions(values: Iterable[Revision], next_page_token: str) -> pb.ListFeatureRevisionsResponse:
    """A page of a feature's history."""
    messages = [
        pb.FeatureRevision(
            revision=value.revision,
            label=value.label,
            description=value.description,
            previous_label=value.previous_label,
            owner=value.owner,
            note=value.note,
            create_time=_time(value.created),
        )
        for value in values
    ]
    return pb.ListFeatureRevisionsResponse(revisions=messages, next_page_token=next_page_token)


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise InvalidField(
            "view",
            f"the answer has {size >> 20} MB, a message at most 4; ask for fewer features, or for BASIC",
        )


def _time(value: datetime | None) -> timestamp_pb2.Timestamp | None:
    if value is None:
        return None
    message = timestamp_pb2.Timestamp()
    message.FromDatetime(value)
    return message


def _tokens(values: Iterable[TokenWeight]) -> list[pb.TokenWeight]:
    return [pb.TokenWeight(token=value.token, id=value.id, weight=value.weight) for value in values]


def _neighbors(values: Iterable[Neighbor]) -> list[pb.FeatureNeighbor]:
    return [pb.FeatureNeighbor(index=value.index, similarity=value.similarity) for value in values]


def _example(value: Example) -> pb.ActivatingExample:
    return pb.ActivatingExample(
        kind=_KINDS[value.kind],
        quantile=value.quantile,
        tokens=value.tokens,
        activations=value.activations,
        peak=value.peak,
        role=_ROLES[value.role],
        document=value.document,
    )

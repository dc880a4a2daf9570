"""Messages of the catalogue of features, and its own words made from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from google.protobuf import timestamp_pb2

from hearth.v1 import feature_service_pb2 as pb
from hearth.v1.steering_pb2 import FeatureKey
from services.cli.answers import Revision
from services.features.feature import Catalog, Feature, FeatureFilter, Hit
from services.features.wire import decode_feature


def keys_of(sae: str, indices: Iterable[int]) -> list[FeatureKey]:
    """The keys of features of one SAE."""
    return [FeatureKey(sae=sae, index=index) for index in indices]


def filter_message(which: FeatureFilter) -> pb.FeatureFilter:
    """The message of a filter."""
    return pb.FeatureFilter(
        layers=which.layers,
        classes=[pb.FeatureClass.Value(f"FEATURE_CLASS_{each.name}") for each in which.classes],
        min_density=which.min_density,
        max_density=which.max_density,
        label_sources=which.label_sources,
        min_label_score=which.min_label_score,
        labelled_only=which.labelled_only,
        min_output_score=which.min_output_score,
        min_steerability=which.min_steerability,
    )


def catalog_from_proto(message: pb.Catalog) -> Catalog:
    """An SAE whose features are in the catalogue."""
    return Catalog(
        sae=message.sae,
        model=message.model,
        hook_point=message.hook_point,
        layer=message.layer,
        weights_digest=message.weights_digest,
        feature_count=message.feature_count,
        histogram_edges=tuple(message.histogram_edges),
        encoder=message.encoder,
        imported=_time(message.import_time) if message.HasField("import_time") else None,
    )


def feature_from_proto(message: pb.Feature) -> Feature:
    """A feature that was read; of no class where a newer server has one that this version does not know."""
    if message.feature_class not in decode_feature.CLASSES:
        message.feature_class = pb.FEATURE_CLASS_UNSPECIFIED
    return replace(
        decode_feature.feature(message, "feature"),
        etag=message.etag,
        updated=_time(message.update_time) if message.HasField("update_time") else None,
        revision=message.revision,
    )


def hit_from_proto(message: pb.FeatureHit) -> Hit:
    """A feature that was found."""
    return Hit(
        feature=feature_from_proto(message.feature),
        score=message.score,
        label_similarity=message.label_similarity if message.HasField("label_similarity") else None,
        context_similarity=message.context_similarity if message.HasField("context_similarity") else None,
        lexical_score=message.lexical_score if message.HasField("lexical_score") else None,
    )


def revision_from_proto(message: pb.FeatureRevision) -> Revision:
    """What a feature was called by a person."""
    return Revision(
        revision=message.revision,
        label=message.label,
        description=message.description,
        previous_label=message.previous_label,
        owner=message.owner,
        note=message.note,
        created=_time(message.create_time),
    )


def _time(stamp: timestamp_pb2.Timestamp) -> datetime:
    return stamp.ToDatetime(UTC)

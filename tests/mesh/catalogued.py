"""A small catalogue through gRPC: features that have everything that a feature can have."""

from __future__ import annotations

from collections.abc import Sequence

from hearth.v1 import feature_service_pb2 as pb
from hearth.v1 import feature_service_pb2_grpc as rpc
from hearth.v1 import steering_pb2
from services.features.wire import encode
from tests.features.made_features import catalog, decoder, feature

TIMEOUT = 60


def catalog_message(features: int, sae: str) -> pb.Catalog:
    """What is imported."""
    message = encode.catalog(catalog(features, sae))
    message.encoder = "not read"
    message.import_time.seconds = 1
    return message


def feature_message(index: int, sae: str) -> pb.Feature:
    """A feature, with what the catalogue does not read."""
    message = encode.feature(feature(index, sae))
    message.etag, message.revision = "not read", 7
    message.update_time.seconds = 1
    return message


def upsert_messages(indices: Sequence[int], sae: str) -> list[pb.FeatureUpsert]:
    """Features to write."""
    return [
        pb.FeatureUpsert(feature=feature_message(index, sae), decoder=decoder(index)) for index in indices
    ]


def key(index: int, sae: str) -> steering_pb2.FeatureKey:
    """A feature's name."""
    return steering_pb2.FeatureKey(sae=sae, index=index)


def import_catalog(stub: rpc.FeatureServiceStub, features: int, sae: str) -> str:
    """Imports a catalogue unless it is there; its import_id."""
    begin = pb.BeginImportRequest(
        catalog=catalog_message(features, sae), content_digest="content", restart=True
    )
    begun = stub.BeginImport(begin, timeout=TIMEOUT)
    request = pb.BatchUpsertFeaturesRequest(
        features=upsert_messages(range(features), sae), import_id=begun.import_id
    )
    stub.BatchUpsertFeatures(request, timeout=TIMEOUT)
    stub.CommitImport(pb.CommitImportRequest(import_id=begun.import_id), timeout=TIMEOUT)
    return begun.import_id

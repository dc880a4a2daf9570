"""Valid requests of the features process, with every field set in at least one of them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from hearth.v1 import feature_service_pb2 as pb
from hearth.v1 import feature_service_pb2_grpc, variant_service_pb2_grpc
from hearth.v1 import variant_service_pb2 as variants
from services.features.feature import feature_id
from services.features.texts import text_digest
from tests.mesh.catalogued import (
    TIMEOUT,
    catalog_message,
    import_catalog,
    key,
    upsert_messages,
)
from tests.mesh.valid import steering

SAE, LEAVING, ARRIVING = "mesh/a", "mesh/leaving", "mesh/arriving"
COUNT = 8
IDS = [feature_id(SAE, index) for index in range(3)]
REQUEST_ID = str(uuid.uuid4())
QUERY = "ships on the sea"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What requests name that the server made."""

    shown: str
    """An import that is shown."""
    arriving: str
    """One that is not."""
    variant: str
    deleted: str
    """Ids of variants."""


def prepare(channel: grpc.Channel, metadata: tuple[tuple[str, str], ...]) -> Prepared:
    """Makes what the requests need, as often as they are to succeed."""
    features = feature_service_pb2_grpc.FeatureServiceStub(channel)
    import_catalog(features, COUNT, LEAVING)
    arriving = pb.BeginImportRequest(catalog=catalog_message(COUNT, ARRIVING), content_digest="arriving")
    saved = variant_service_pb2_grpc.VariantServiceStub(channel)
    ids = [
        saved.CreateVariant(
            variants.CreateVariantRequest(
                variant=variants.Variant(name=str(number)), request_id=str(uuid.UUID(int=number))
            ),
            timeout=TIMEOUT,
            metadata=metadata,
        ).variant.id
        for number in (1, 2)
    ]
    saved.DeleteVariant(variants.DeleteVariantRequest(id=ids[1]), timeout=TIMEOUT, metadata=metadata)
    return Prepared(
        import_catalog(features, COUNT, SAE), features.BeginImport(arriving, timeout=TIMEOUT).import_id, *ids
    )


def a_filter() -> pb.FeatureFilter:
    """A filter with every field set that leaves something."""
    return pb.FeatureFilter(
        layers=[3, 4],
        classes=[pb.FEATURE_CLASS_CONCEPT, pb.FEATURE_CLASS_LEXICAL],
        min_density=0.0005,
        max_density=0.9,
        label_sources=["offline", "person:ann"],
        min_label_score=0.1,
        labelled_only=True,
        min_output_score=-1.0,
        min_steerability=0.0,
    )


def valid_feature_requests(prepared: Prepared) -> list[tuple[str, Message]]:
    """(method, request) of FeatureService; each must succeed."""
    keys = [key(index, SAE) for index in range(3)]
    vectors = [pb.TextVector(text_digest=text_digest("a text"), vector=[0.5] * 8)]
    full = pb.FEATURE_VIEW_FULL
    return [
        ("ListCatalogs", pb.ListCatalogsRequest(page_size=5)),
        ("GetFeature", pb.GetFeatureRequest(key=keys[0], view=full)),
        ("GetFeature", pb.GetFeatureRequest(id=IDS[0], view=pb.FEATURE_VIEW_BASIC)),
        ("BatchGetFeatures", pb.BatchGetFeaturesRequest(keys=keys, view=full)),
        ("BatchGetFeatures", pb.BatchGetFeaturesRequest(ids=IDS, allow_missing=True)),
        ("ListFeatures", pb.ListFeaturesRequest(sae=SAE, page_size=5, filter=a_filter(), view=full)),
        (
            "SearchFeatures",
            pb.SearchFeaturesRequest(
                query=QUERY, sae=SAE, top_k=5, filter=a_filter(), mode=pb.SEARCH_MODE_CONTEXT, view=full
            ),
        ),
        (
            "RerankFeatures",
            pb.RerankFeaturesRequest(query=QUERY, keys=keys, top_k=2, mode=pb.SEARCH_MODE_LABEL),
        ),
        ("RerankFeatures", pb.RerankFeaturesRequest(query=QUERY, ids=IDS, mode=pb.SEARCH_MODE_LEXICAL)),
        (
            "FindNeighbors",
            pb.FindNeighborsRequest(
                keys=keys, relation=pb.NEIGHBOR_RELATION_LABEL, top_k=3, filter=a_filter()
            ),
        ),
        ("FindNeighbors", pb.FindNeighborsRequest(ids=IDS, relation=pb.NEIGHBOR_RELATION_COACTIVATION)),
        (
            "BeginImport",
            pb.BeginImportRequest(
                catalog=catalog_message(COUNT, ARRIVING), content_digest="arriving", restart=False
            ),
        ),
        (
            "BatchUpsertFeatures",
            pb.BatchUpsertFeaturesRequest(
                features=upsert_messages(range(2), ARRIVING),
                import_id=prepared.arriving,
                encoder="another",
                text_vectors=vectors,
            ),
        ),
        ("BatchUpsertFeatures", pb.BatchUpsertFeaturesRequest(features=upsert_messages([2], SAE))),
        ("CommitImport", pb.CommitImportRequest(import_id=prepared.shown)),
        (
            "UpdateFeature",
            pb.UpdateFeatureRequest(
                feature=pb.Feature(key=keys[1], label="ships", description="boats and ships"),
                update_mask=FieldMask(paths=["label", "description"]),
                note="as one reads it",
                request_id=REQUEST_ID,
            ),
        ),
        (
            "UpdateFeature",
            pb.UpdateFeatureRequest(
                feature=pb.Feature(id=IDS[2], label="courts"), update_mask=FieldMask(paths=["label"])
            ),
        ),
        ("ListFeatureRevisions", pb.ListFeatureRevisionsRequest(key=keys[1], page_size=5)),
        ("ListFeatureRevisions", pb.ListFeatureRevisionsRequest(id=IDS[2])),
        ("DeleteCatalog", pb.DeleteCatalogRequest(sae=LEAVING)),
    ]


def valid_variant_requests(prepared: Prepared) -> list[tuple[str, Message]]:
    """(method, request) of VariantService; each must succeed."""
    variant = variants.Variant(
        name="sailor", description="talks of ships", model="a/model", steering=steering(False)
    )
    changed = variants.Variant(id=prepared.variant)
    changed.MergeFrom(variant)
    changed.name = "captain"
    mask = FieldMask(paths=["name", "description", "model", "steering"])
    return [
        ("CreateVariant", variants.CreateVariantRequest(variant=variant, request_id=REQUEST_ID)),
        ("GetVariant", variants.GetVariantRequest(id=prepared.variant)),
        ("GetVariant", variants.GetVariantRequest(name="sailor")),
        ("ListVariants", variants.ListVariantsRequest(page_size=5, show_deleted=True)),
        (
            "UpdateVariant",
            variants.UpdateVariantRequest(
                variant=changed, update_mask=mask, request_id=str(uuid.UUID(int=3))
            ),
        ),
        ("DeleteVariant", variants.DeleteVariantRequest(id=prepared.deleted)),
        ("UndeleteVariant", variants.UndeleteVariantRequest(id=prepared.deleted)),
    ]

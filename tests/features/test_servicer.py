"""FeatureService through a real server: what its messages may hold, and what comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from hearth.v1 import feature_service_pb2 as pb
from hearth.v1 import feature_service_pb2_grpc as rpc
from services.errors import Reason
from services.features.catalogue import Catalogue
from services.features.feature import feature_id
from services.features.servicer import FeatureServicer
from services.features.wire import encode
from services.rpc.calls import OWNER_KEY
from services.rpc.channel import RpcFailure, connect, rpc_failures
from services.rpc.server import ServerSettings, serve
from tests.features.conftest import Opened
from tests.features.made_features import SAE, feature
from tests.mesh.catalogued import catalog_message, key, upsert_messages

SERVICE = "hearth.v1.FeatureService"
ANN = ((OWNER_KEY, "ann"),)
COUNT = 16
MISSING = "00000000-0000-4000-8000-000000000000"
Stub = rpc.FeatureServiceStub


@pytest.fixture
async def empty(catalogue: Catalogue) -> AsyncIterator[Stub]:
    servicer = FeatureServicer(catalogue)
    server = await serve(
        {SERVICE: lambda s: rpc.add_FeatureServiceServicer_to_server(servicer, s)},
        ServerSettings(),
        handle_signals=False,
    )
    async with connect(server.address) as channel:
        yield rpc.FeatureServiceStub(channel)
    server.begin_drain()
    server.begin_drain()
    await server.stopped()


@pytest.fixture
async def stub(empty: Stub) -> Stub:
    """A catalogue of COUNT features."""
    begun = await empty.BeginImport(
        pb.BeginImportRequest(catalog=catalog_message(COUNT, SAE), content_digest="content")
    )
    features = upsert_messages(range(COUNT), SAE)
    await empty.BatchUpsertFeatures(
        pb.BatchUpsertFeaturesRequest(features=features, import_id=begun.import_id)
    )
    await empty.CommitImport(pb.CommitImportRequest(import_id=begun.import_id))
    return empty


async def refusal(call: Any) -> RpcFailure:
    with pytest.raises(RpcFailure) as refused, rpc_failures():
        await call
    return refused.value


async def test_a_feature_comes_back_as_it_was_written(stub: Stub) -> None:
    found = (await stub.GetFeature(pb.GetFeatureRequest(key=key(9, SAE)))).feature
    assert found.id == feature_id(SAE, 9)
    assert found.etag
    assert found.update_time.seconds > 1_700_000_000
    assert found.revision == 0
    written = encode.feature(feature(9))
    written.etag = found.etag
    written.update_time.CopyFrom(found.update_time)
    assert found == written
    again = await stub.GetFeature(pb.GetFeatureRequest(id=found.id.upper(), view=pb.FEATURE_VIEW_UNSPECIFIED))
    assert again.feature == found
    basic = (await stub.GetFeature(pb.GetFeatureRequest(key=key(9, SAE), view=pb.FEATURE_VIEW_BASIC))).feature
    assert basic.promoted == found.promoted
    for name in ("examples", "histogram", "doses", "decoder_neighbors", "coactivation_neighbors"):
        assert getattr(found, name)
        assert not getattr(basic, name)


async def test_the_catalogue_says_what_was_imported_by_which_encoder_and_when(stub: Stub) -> None:
    (catalog,) = (await stub.ListCatalogs(pb.ListCatalogsRequest())).catalogs
    assert (catalog.sae, catalog.feature_count, catalog.encoder) == (SAE, COUNT, "words@1")
    assert list(catalog.histogram_edges) == [0.0, 0.5, 1.0, 2.0]
    assert catalog.import_time.seconds > 1_700_000_000
    again = pb.BeginImportRequest(catalog=catalog_message(COUNT, SAE), content_digest="content")
    begun = await stub.BeginImport(again)
    assert begun == pb.BeginImportResponse(next_index=COUNT, complete=True, encoder="words@1")


async def test_what_is_missing_stands_with_its_key_or_id_where_that_is_allowed(stub: Stub) -> None:
    request = pb.BatchGetFeaturesRequest(keys=[key(3, SAE), key(COUNT, SAE)], allow_missing=True)
    first, second = (await stub.BatchGetFeatures(request)).features
    assert first.label == feature(3).label
    assert second == pb.Feature(key=key(COUNT, SAE), id=feature_id(SAE, COUNT))
    by_id = pb.BatchGetFeaturesRequest(ids=[MISSING], allow_missing=True)
    assert list((await stub.BatchGetFeatures(by_id)).features) == [pb.Feature(id=MISSING)]
    failure = await refusal(stub.BatchGetFeatures(pb.BatchGetFeaturesRequest(ids=[MISSING])))
    assert (failure.reason, failure.field) == (Reason.NOT_FOUND, "ids[0]")


async def test_a_page_is_followed_by_its_token(stub: Stub) -> None:
    request = pb.ListFeaturesRequest(page_size=6)
    indices: list[int] = []
    while not indices or request.page_token:
        page = await stub.ListFeatures(request)
        indices += [each.key.index for each in page.features]
        request.page_token = page.next_page_token
    assert indices == list(range(COUNT))


async def test_search_rerank_and_neighbours_answer_hits_with_their_scores(stub: Stub) -> None:
    search = pb.SearchFeaturesRequest(query="birds of prey", top_k=2, view=pb.FEATURE_VIEW_FULL)
    hits = (await stub.SearchFeatures(search)).hits
    assert hits[0].feature.key.index == 3
    assert hits[0].feature.examples
    assert 2 / 61 < hits[0].score <= 3 / 61 + 1e-6
    assert hits[0].label_similarity == pytest.approx(1, abs=1e-4)
    assert hits[0].HasField("context_similarity")
    assert hits[0].lexical_score > 0
    lexical = pb.SearchFeaturesRequest(query="birds of prey", mode=pb.SEARCH_MODE_LEXICAL)
    assert not (await stub.SearchFeatures(lexical)).hits[0].HasField("label_similarity")
    rerank = pb.RerankFeaturesRequest(query="birds of prey", keys=[key(0, SAE), key(3, SAE)])
    assert [hit.feature.key.index for hit in (await stub.RerankFeatures(rerank)).hits] == [3, 0]
    neighbors = pb.FindNeighborsRequest(keys=[key(0, SAE)], top_k=1)
    (hit,) = (await stub.FindNeighbors(neighbors)).hits
    assert hit.feature.key.index == 8
    assert hit.score > 0.9
    assert not hit.feature.examples


async def test_a_change_is_its_owners_and_stands_in_the_history(stub: Stub) -> None:
    before = (await stub.GetFeature(pb.GetFeatureRequest(key=key(3, SAE)))).feature
    request = pb.UpdateFeatureRequest(
        feature=pb.Feature(id=before.id, label="hawks", description="not read"),
        update_mask=FieldMask(paths=["label"]),
        etag=before.etag,
        note="they all are",
    )
    after = (await stub.UpdateFeature(request, metadata=ANN)).feature
    assert (after.label, after.label_source, after.revision) == ("hawks", "person:ann", 1)
    assert after.description == before.description
    assert not after.HasField("label_score")
    failure = await refusal(stub.UpdateFeature(request, metadata=ANN))
    assert (failure.code, failure.reason, failure.field) == (
        grpc.StatusCode.ABORTED,
        Reason.ETAG_MISMATCH,
        "etag",
    )
    history = await stub.ListFeatureRevisions(pb.ListFeatureRevisionsRequest(key=key(3, SAE)))
    (revision,) = history.revisions
    assert (revision.previous_label, revision.label) == (before.label, "hawks")
    assert (revision.owner, revision.note, revision.revision) == ("ann", "they all are", 1)
    assert revision.create_time == after.update_time


async def test_a_catalogue_that_is_deleted_is_gone(stub: Stub) -> None:
    await stub.DeleteCatalog(pb.DeleteCatalogRequest(sae=SAE))
    assert not (await stub.ListCatalogs(pb.ListCatalogsRequest())).catalogs
    failure = await refusal(stub.GetFeature(pb.GetFeatureRequest(key=key(0, SAE))))
    assert (failure.code, failure.field) == (grpc.StatusCode.NOT_FOUND, "key.sae")


async def test_an_empty_catalogue_answers(empty: Stub) -> None:
    assert not (await empty.ListCatalogs(pb.ListCatalogsRequest())).catalogs
    assert not (await empty.SearchFeatures(pb.SearchFeaturesRequest(query="sea"))).hits
    failure = await refusal(empty.ListFeatures(pb.ListFeaturesRequest()))
    assert (failure.reason, failure.field) == (Reason.NOT_FOUND, "sae")


async def test_an_answer_that_no_message_holds_is_refused_before_it_is_sent(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encode, "MAX_BYTES", 4000)
    keys = [key(index, SAE) for index in range(COUNT)]
    request = pb.BatchGetFeaturesRequest(keys=keys, view=pb.FEATURE_VIEW_FULL)
    assert (await refusal(stub.BatchGetFeatures(request))).field == "view"
    search = pb.SearchFeaturesRequest(query="sea", top_k=16, view=pb.FEATURE_VIEW_FULL)
    assert (await refusal(stub.SearchFeatures(search))).field == "view"


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda s: s.ListCatalogs(pb.ListCatalogsRequest(page_size=101)), "page_size"),
        (lambda s: s.GetFeature(pb.GetFeatureRequest()), "name"),
        (lambda s: s.BatchGetFeatures(pb.BatchGetFeaturesRequest()), "keys"),
        (lambda s: s.BatchGetFeatures(pb.BatchGetFeaturesRequest(ids=[MISSING] * 1001)), "ids"),
        (
            lambda s: s.BatchGetFeatures(
                pb.BatchGetFeaturesRequest(ids=[MISSING] * 101, view=pb.FEATURE_VIEW_FULL)
            ),
            "ids",
        ),
        (
            lambda s: s.BatchGetFeatures(pb.BatchGetFeaturesRequest(ids=[MISSING], keys=[key(0, SAE)])),
            "ids",
        ),
        (lambda s: s.ListFeatures(pb.ListFeaturesRequest(page_size=1001)), "page_size"),
        (
            lambda s: s.ListFeatures(pb.ListFeaturesRequest(page_size=101, view=pb.FEATURE_VIEW_FULL)),
            "page_size",
        ),
        (lambda s: s.SearchFeatures(pb.SearchFeaturesRequest(query="x" * 2001)), "query"),
        (lambda s: s.SearchFeatures(pb.SearchFeaturesRequest(query="x", top_k=101)), "top_k"),
        (lambda s: s.RerankFeatures(pb.RerankFeaturesRequest(query="x", ids=[MISSING] * 8193)), "ids"),
        (
            lambda s: s.RerankFeatures(pb.RerankFeaturesRequest(query="x", ids=[MISSING], top_k=1001)),
            "top_k",
        ),
        (lambda s: s.FindNeighbors(pb.FindNeighborsRequest(ids=[MISSING] * 2049)), "ids"),
        (lambda s: s.FindNeighbors(pb.FindNeighborsRequest(ids=[MISSING], top_k=1001)), "top_k"),
        (
            lambda s: s.ListFeatureRevisions(pb.ListFeatureRevisionsRequest(id=MISSING, page_size=101)),
            "page_size",
        ),
        (lambda s: s.UpdateFeature(pb.UpdateFeatureRequest(feature=pb.Feature(id=MISSING))), "update_mask"),
    ],
)
async def test_every_limit_names_its_field(empty: Stub, call: Any, field: str) -> None:
    failure = await refusal(call(empty))
    assert (failure.reason, failure.field) == (Reason.INVALID_FIELD, field)


async def test_a_search_waits_for_the_encoder_no_longer_than_its_deadline(opened: Opened, stub: Stub) -> None:
    opened.embedding._tried.clear()  # as while it loads
    search = pb.SearchFeaturesRequest(query="sea")
    failure = await refusal(stub.SearchFeatures(search, timeout=0.2))
    assert failure.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert (await stub.GetFeature(pb.GetFeatureRequest(key=key(0, SAE)))).feature.label
    words = pb.SearchFeaturesRequest(query="sea", mode=pb.SEARCH_MODE_LEXICAL)
    assert (await stub.SearchFeatures(words)).hits

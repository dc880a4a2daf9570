"""kill -9 in the middle of an import and of updates: nothing acknowledged is lost, nothing is half visible."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from hearth.v1 import feature_service_pb2 as pb
from hearth.v1 import feature_service_pb2_grpc as rpc
from services.features.feature import feature_id
from tests.features.made_features import feature
from tests.mesh.catalogued import TIMEOUT, catalog_message, key, upsert_messages
from tests.mesh.processes import Process, Running

pytestmark = pytest.mark.model
SAE = "mesh/killed"
FEATURES, BATCH = 200, 20
COMMIT = pb.CommitImportRequest
BEGIN = pb.BeginImportRequest(catalog=catalog_message(FEATURES, SAE), content_digest="content")


def upsert(stub: rpc.FeatureServiceStub, import_id: str, start: int) -> int:
    """Writes a batch; returns the next index that was acknowledged."""
    request = pb.BatchUpsertFeaturesRequest(
        features=upsert_messages(range(start, start + BATCH), SAE), import_id=import_id
    )
    return stub.BatchUpsertFeatures(request, timeout=TIMEOUT).next_index


def rename(stub: rpc.FeatureServiceStub, index: int, label: str) -> pb.Feature:
    """Gives a feature another label."""
    request = pb.UpdateFeatureRequest(
        feature=pb.Feature(key=key(index, SAE), label=label), update_mask=FieldMask(paths=["label"])
    )
    return stub.UpdateFeature(request, timeout=TIMEOUT).feature


def killed_in(process: Process, first: int, work: Callable[[int], None], start: int, step: int) -> None:
    """Works until the process is gone, which it is soon after the work at `first` begins."""
    try:
        for place in range(start, FEATURES, step):
            if place == first:
                threading.Timer(0.05, process.kill).start()
            work(place)
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017 (the work is a loop)
        process.process.wait()
        return
    raise AssertionError("the process outlived all the work")


def every_feature(stub: rpc.FeatureServiceStub) -> dict[int, pb.Feature]:
    """All that are shown."""
    page = stub.ListFeatures(pb.ListFeaturesRequest(sae=SAE, page_size=1000), timeout=TIMEOUT)
    return {each.key.index: each for each in page.features}


def is_shown(stub: rpc.FeatureServiceStub) -> bool:
    """Whether the import is shown, whole; nothing of it is otherwise."""
    if not stub.ListCatalogs(pb.ListCatalogsRequest(), timeout=TIMEOUT).catalogs:
        request = pb.BatchGetFeaturesRequest(ids=[feature_id(SAE, 0)], allow_missing=True)
        assert not stub.BatchGetFeatures(request, timeout=TIMEOUT).features[0].label
        return False
    assert len(every_feature(stub)) == FEATURES
    return True


@contextmanager
def running(folder: Path) -> Iterator[tuple[Process, rpc.FeatureServiceStub]]:
    """A features process and a client of it."""
    with Running("features", data_dir=folder) as process, grpc.insecure_channel(process.address) as channel:
        yield process, rpc.FeatureServiceStub(channel)


def test_what_was_acknowledged_outlives_kills_and_nothing_is_half_visible(
    sentence_encoder: Path, tmp_path: Path
) -> None:
    acknowledged: list[int] = []
    with running(tmp_path) as (process, stub):
        import_id = stub.BeginImport(BEGIN, timeout=TIMEOUT).import_id
        written = partial(upsert, stub, import_id)
        killed_in(process, 3 * BATCH, lambda start: acknowledged.append(written(start)), 0, BATCH)
    assert len(acknowledged) >= 3

    with running(tmp_path) as (
        process,
        stub,
    ):  # an import that was killed goes on, and is killed as it is shown
        assert not is_shown(stub)
        begun = stub.BeginImport(BEGIN, timeout=TIMEOUT)
        assert begun.next_index >= acknowledged[-1]
        for start in range(begun.next_index, FEATURES, BATCH):
            upsert(stub, begun.import_id, min(start, FEATURES - BATCH))
        assert not is_shown(stub)
        committing = stub.CommitImport.future(COMMIT(import_id=begun.import_id), timeout=TIMEOUT)
        process.kill()
        answered = committing.exception() is None

    asked: dict[int, str] = {}
    renamed: dict[int, str] = {}

    def renames(index: int) -> None:
        asked[index] = f"renamed {index}"
        renamed[index] = rename(stub, index, asked[index]).label

    with running(tmp_path) as (process, stub):  # it is shown whole or not at all; then updates are killed
        assert is_shown(stub) or not answered
        stub.CommitImport(COMMIT(import_id=begun.import_id), timeout=TIMEOUT)
        assert is_shown(stub)
        killed_in(process, 5, renames, 0, 1)
    assert len(renamed) >= 5

    with running(tmp_path) as (_, stub):
        shown = every_feature(stub)
        assert len(shown) == FEATURES
        assert {index: shown[index].label for index in renamed} == renamed
        for index, found in shown.items():
            history = stub.ListFeatureRevisions(
                pb.ListFeatureRevisionsRequest(key=key(index, SAE)), timeout=TIMEOUT
            ).revisions
            assert found.revision == len(history)
            assert found.label == (history[0].label if history else feature(index).label)
            assert found.label in (feature(index).label, asked.get(index))
        last = max(index for index, found in shown.items() if found.revision)
        search = pb.SearchFeaturesRequest(query=f"renamed {last}", mode=pb.SEARCH_MODE_LABEL, top_k=1)
        (hit,) = stub.SearchFeatures(search, timeout=TIMEOUT).hits
        assert hit.feature.key.index == last
        assert hit.label_similarity == pytest.approx(1, abs=1e-3)

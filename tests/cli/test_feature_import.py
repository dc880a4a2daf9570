"""`hearth features import` brings an SAE's tables into the catalogue: whole, verified, resumable, at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hearth.v1 import feature_service_pb2 as pb
from services.cli.importing import vectors
from services.cli.importing.source import FeatureSource
from services.cli.wire import imports
from services.errors import DependencyUnavailable
from services.features.feature import Example, FeatureClass
from services.features.requests import Begun
from services.features.servicer import FeatureServicer
from services.features.wire import encode
from services.saelab import label_table, text_vectors
from tests.cli.conftest import Done, Run
from tests.cli.fake_server import FakeInference
from tests.cli.features_server import FeaturesServer, features_running
from tests.cli.made_tables import COUNT, SAE, label, made_folder, made_sae, write_features, write_labels
from tests.features.made_features import feature

Import = Callable[..., Done]


class Interrupted(FeatureServicer):
    """A catalogue that does not answer while `out_of_order` says so, and counts what it was sent."""

    out_of_order: Callable[[int], bool] = staticmethod(lambda batch: False)
    batches = 0
    sent: list[int]

    async def BatchUpsertFeatures(
        self, request: pb.BatchUpsertFeaturesRequest, context: Any
    ) -> pb.BatchUpsertFeaturesResponse:
        type(self).batches += 1
        if self.out_of_order(type(self).batches):
            raise DependencyUnavailable("the store", "out of order", retry_after=0.05)
        self.sent.extend(each.feature.key.index for each in request.features)
        return await super().BatchUpsertFeatures(request, context)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FeaturesServer]:
    monkeypatch.setattr(imports, "BATCH_TO_ENCODE", 5)
    monkeypatch.setattr(imports, "BATCH_FEATURES", 5)
    monkeypatch.setattr(Interrupted, "batches", 0)
    monkeypatch.setattr(Interrupted, "sent", [], raising=False)
    with features_running(tmp_path / "data", Interrupted) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "sae"


@pytest.fixture
def bring(run: Run, server: FeaturesServer, folder: Path) -> Import:
    """`hearth features import` of the folder."""

    def bring_it(*options: str, **environment: str) -> Done:
        where = {"HEARTH_FEATURES_ADDRESS": server.address, "COLUMNS": "200", **environment}
        return run("features", "import", str(folder), *options, **where)

    return bring_it


def test_every_feature_arrives_as_the_tables_have_it(
    bring: Import, server: FeaturesServer, folder: Path
) -> None:
    made_folder(folder)
    done = bring()
    assert (done.code, done.out) == (0, f"{COUNT} features of {SAE} imported.\n")
    for index in (0, 1, COUNT - 1):
        expected = replace(
            feature(index, SAE),
            description="mostly '␀'" if index == COUNT - 1 else feature(index).description,
            steerability=feature(index).steerability if index % 2 else None,
            suppressed=(replace(feature(index).suppressed[0], token="\0", id=5, weight=-1.5),),
            examples=tuple(replace(e, kind=e.kind or "quantile") for e in feature(index).examples),
            decoder_neighbors=feature(index).decoder_neighbors[:1],
            coactivation_neighbors=feature(index).coactivation_neighbors[1:],
        )
        # As messages, whose numbers are float32 as the tables' are.
        assert encode.feature(stored(server, index)) == encode.feature(expected)
    assert stored(server, 3).feature_class is FeatureClass.DEAD


def test_the_same_content_is_not_sent_again_unless_asked_and_other_content_is(
    bring: Import, folder: Path
) -> None:
    sae = made_folder(folder)
    bring()
    first = list(Interrupted.sent)
    assert first == list(range(COUNT))
    assert bring().out == f"{COUNT} features of {SAE} are in the catalogue already.\n"
    assert Interrupted.sent == first
    assert json.loads(bring("--restart", "--json").out)["was_complete"] is False
    assert Interrupted.sent == first * 2
    info = label_table.read(folder).info
    label_table.write(
        folder, info, [replace(label(index), label="new") for index in range(sae.weights.d_sae)]
    )
    bring()
    assert Interrupted.sent == first * 3


def test_a_broken_off_import_goes_on_where_it_stopped(
    bring: Import, server: FeaturesServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_folder(folder)
    monkeypatch.setattr("services.cli.importing.upload.PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(Interrupted, "out_of_order", staticmethod(lambda batch: batch > 2))
    done = bring()
    assert done.code == 1
    assert "out of order" in done.err
    assert server.wait(server.catalogue.list_catalogs(10, "")) == ([], ""), "half of it is not visible"
    monkeypatch.setattr(Interrupted, "out_of_order", staticmethod(lambda batch: False))
    assert bring().out == f"{COUNT} features of {SAE} imported, from feature 10 on.\n"
    assert Interrupted.sent == list(range(COUNT))


def test_a_catalogue_that_is_away_for_a_moment_is_waited_for(
    bring: Import, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_folder(folder)
    monkeypatch.setattr(Interrupted, "out_of_order", staticmethod(lambda batch: batch in range(3, 12)))
    assert bring().out == f"{COUNT} features of {SAE} imported.\n"
    assert Interrupted.sent == list(range(COUNT))


def test_tables_about_other_weights_are_refused_before_anything_is_sent(
    bring: Import, server: FeaturesServer, folder: Path
) -> None:
    sae = made_sae(folder)
    write_features(folder, sae, weights_digest="other")
    done = bring()
    assert done.code == 1
    assert "features.parquet is about other weights" in done.err
    assert not Interrupted.sent
    write_features(folder, sae, sae_id="another")
    assert "about SAE another" in bring().err


def test_an_sae_that_is_served_with_other_weights_is_refused(
    bring: Import, folder: Path, service: FakeInference
) -> None:
    sae = made_folder(folder)
    service.sae = SAE
    done = bring()
    assert done.code == 1
    assert "serves small with other weights" in done.err
    assert not Interrupted.sent
    service.weights_digest = sae.weights_digest
    assert bring().code == 0


def test_labels_alone_are_imported(bring: Import, server: FeaturesServer, folder: Path) -> None:
    write_labels(folder, made_sae(folder))
    assert bring().code == 0
    found = stored(server, 1)
    assert (found.label, found.scale, found.histogram) == ("baking bread", 20.0, ())
    assert found.feature_class is FeatureClass.UNSPECIFIED


def test_features_that_nobody_named_say_what_they_promote(
    bring: Import, server: FeaturesServer, folder: Path
) -> None:
    write_features(folder, made_sae(folder))
    assert bring().code == 0
    assert stored(server, 1).label == 'unlabelled: promotes "put", "promoted"'
    assert stored(server, 3).label == "unlabelled: never active"


def test_a_folder_without_tables_is_told_how_to_make_them(bring: Import, folder: Path) -> None:
    made_sae(folder)
    done = bring()
    assert done.code == 1
    assert "hearth sae features" in done.err


def test_a_broken_table_is_told(bring: Import, folder: Path) -> None:
    made_folder(folder)
    path = folder / "features.parquet"
    path.write_bytes(path.read_bytes()[:1000])
    done = bring()
    assert done.code == 1
    assert "features.parquet cannot be read" in done.err


def test_shipped_vectors_leave_nothing_to_encode(
    bring: Import, run: Run, server: FeaturesServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_folder(folder)
    monkeypatch.setattr(vectors, "minilm_loader", lambda folder, threads: server.encoder.load)
    assert run("features", "export", "--vectors", str(folder)).code == 0
    server.encoder.calls.clear()
    assert json.loads(bring("--json").out)["shipped_vectors"] is True
    assert server.encoder.calls == []


def test_vectors_of_another_encoder_are_not_used(bring: Import, server: FeaturesServer, folder: Path) -> None:
    made_folder(folder)
    text_vectors.write(folder, "another@1", {"the sea and ships": np.ones(32, np.float32)})
    assert json.loads(bring("--json").out)["shipped_vectors"] is False
    assert server.encoder.calls


def test_batches_fit_a_message_however_long_the_examples_are(folder: Path) -> None:
    made_folder(folder)
    long = Example("top", 1.0, (" word",) * 1000, (1.0,) * 1000, 0, "", "d")
    upserts = [
        replace(each, feature=replace(each.feature, examples=(long,) * 100))
        for each in FeatureSource(folder).upserts()
    ]
    batches = list(imports.upsert_requests(upserts, Begun("id", 0, False, "e"), None))
    assert [each.feature.key.index for batch in batches for each in batch.features] == list(range(COUNT))
    assert len(batches) > 2
    assert max(batch.ByteSize() for batch in batches) < 4 << 20


def stored(server: FeaturesServer, index: int) -> Any:
    """A feature as the catalogue has it, without what the catalogue itself adds."""
    return replace(server.feature(index, SAE), etag="", updated=None)

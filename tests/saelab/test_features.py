"""`hearth sae features` as a user runs it, on the tiny lab."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from services.inference.sae.base import Sae
from services.inference.sae.formats import load_sae
from services.inference.sae.write_saelens import write_saelens
from services.inference.tokenizer import Tokenizer
from services.saelab import feature_table
from services.saelab.cli import sae_app
from services.saelab.documents import TRAIN
from services.saelab.feature_rows import FeatureClass, FeatureRow
from services.saelab.reference import feature_statistics
from services.saelab.residual import HookedModel
from services.saelab.shards import ShardFolder
from tests.saelab.test_evaluate import FEATURES, random_sae

DEAD = 5


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(sae_app, ["features", *(str(argument) for argument in arguments)])
    return result.exit_code, " ".join(result.output.split())


class Lab:
    """An evaluated SAE with all that the command reads."""

    def __init__(self, folder: Path, corpus: Path, model: Path, shards: ShardFolder) -> None:
        self.sae, self.run = folder / "sae", folder / "run"
        plain = random_sae()
        assert plain.weights.threshold is not None
        plain.weights.threshold[DEAD] = 1e9
        statistics = feature_statistics(plain, shards, 10**9)
        write_saelens(
            self.sae,
            replace(plain, scales=statistics.scales, median_norm=statistics.median_norm),
            weights="float32",
        )
        self.text = folder / "written.jsonl"
        shutil.copy(corpus / TRAIN, self.text)
        self.options = ["--text", self.text, "--run", self.run, "--model", model, "--corpus", corpus]
        self.options += ["--activations", shards.folder, "--threads", 1, "--rows", 16, "--new-tokens", 4]

    def features(self, *options: object) -> str:
        code, output = invoke(self.sae, *self.options, *options)
        assert code == 0, output
        return output

    def fails(self, *options: object) -> str:
        code, output = invoke(self.sae, *self.options, *options)
        assert code == 1
        return output

    def rows(self) -> list[FeatureRow]:
        return list(feature_table.read(self.sae))


@pytest.fixture
def lab(
    tmp_path: Path,
    tiny_corpus: Path,
    tiny_model: Path,
    tiny_shards: ShardFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> Lab:
    monkeypatch.setenv("HEARTH_CACHE", str(tmp_path / "cache"))
    return Lab(tmp_path, tiny_corpus, tiny_model, tiny_shards)


def test_everything_is_measured_in_seconds_and_nothing_twice(
    lab: Lab, tiny_model: Path, tiny_shards: ShardFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = time.monotonic()
    output = lab.features()
    assert time.monotonic() - started < 30
    assert "features" in output
    sae, rows = load_sae(lab.sae), lab.rows()
    _check_rows(sae, rows, tiny_shards)
    tokenizer = Tokenizer(tiny_model)
    for row in rows:
        if row.index == DEAD:
            continue
        assert len(row.steering) == 2
        assert row.steerability is not None
        assert row.output_score is not None
        assert row.examples
        assert row.promoted
        assert row.promoted[0].weight > 0 > row.suppressed[0].weight
        assert all(tokenizer.piece(token.id).decode() == token.token for token in row.promoted)
    info = feature_table.read(lab.sae).info
    assert info.sae_id == sae.id
    assert info.weights_digest == sae.weights_digest
    assert set(info.settings) == {"statistics", "examples", "classes", "output", "steerability"}

    def never(*arguments: object) -> HookedModel:
        raise AssertionError("nothing is left to measure")

    monkeypatch.setattr(HookedModel, "load", never)
    (lab.sae / feature_table.FEATURES).unlink()
    lab.features()
    assert lab.rows() == rows


def _check_rows(sae: Sae, rows: list[FeatureRow], shards: ShardFolder) -> None:
    known = feature_statistics(sae, shards, 10**9)
    assert len(rows) == FEATURES
    assert sae.scales is not None
    for row in rows:
        assert row.density == pytest.approx(float(known.density[row.index]))
        assert row.max_activation == pytest.approx(float(known.maxima[row.index]))
        assert row.scale == pytest.approx(float(sae.scales[row.index]))
        assert sum(row.histogram) == round(row.density * known.tokens)
        assert row.is_live == (row.index != DEAD)
        neighbors = [*row.decoder_neighbors, *row.coactivation_neighbors]
        assert not {DEAD, row.index} & {neighbor.index for neighbor in neighbors}
    dead = rows[DEAD]
    assert dead.feature_class is FeatureClass.DEAD
    assert (dead.steering, dead.examples, dead.promoted, dead.coactivation_neighbors) == ((), (), (), ())
    nearest = rows[0].decoder_neighbors[0]
    directions = torch.nn.functional.normalize(sae.weights.W_dec, dim=1)
    assert nearest.similarity == pytest.approx(float(directions[0] @ directions[nearest.index]), abs=1e-5)


def test_stages_can_be_left_out_and_made_later(lab: Lab) -> None:
    lab.features("--without", "steerability", "--without", "output")
    rows = lab.rows()
    assert {row.steerability for row in rows} == {row.output_score for row in rows} == {None}
    assert all(row.promoted for row in rows if row.is_live)  # Through the unembedding alone.
    lab.features("--without", "output", "--sample", 6)
    some = {row.index for row in lab.rows() if row.steerability is not None}
    assert len(some) == 6
    lab.features("--without", "output", "--sample", 9)
    more = {row.index for row in lab.rows() if row.steerability is not None}
    assert len(more) == 9
    assert some < more
    lab.features("--without", "steerability")
    rows = lab.rows()
    assert {row.index for row in rows if row.steerability is not None} == more  # What was measured is kept.
    assert None not in {row.output_score for row in rows if row.is_live}


def test_what_is_missing_or_does_not_fit_is_told(lab: Lab, tmp_path: Path) -> None:
    assert "collect them first" in lab.fails("--activations", tmp_path / "none")
    assert "hearth sae write" in lab.fails("--text", tmp_path / "none.jsonl")
    code, output = invoke(lab.sae, *lab.options, "--without", "examples")
    assert code == 2
    assert "cannot be left out" in output
    lab.features("--without", "steerability", "--without", "output")
    with lab.text.open("a") as file:
        file.write(json.dumps({"id": "new", "source": "test", "text": "sea ship " * 30}) + "\n")
    told = lab.fails("--without", "steerability", "--without", "output")
    assert "another run (different: text, tokens)" in told
    sae = load_sae(lab.sae)
    write_saelens(lab.sae, replace(sae, scales=None))
    assert "hearth sae evaluate" in lab.fails()

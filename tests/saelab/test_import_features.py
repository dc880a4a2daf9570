"""An export's statistics and examples reach features.parquet, in the SAE's units, if its examples fire in the model."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from services.inference.sae.doctor import Status
from services.inference.sae.formats import load_sae
from services.saelab import feature_table, label_table
from services.saelab.cli import sae_app
from services.saelab.errors import ImportRefused, LabelFileError
from services.saelab.feature_rows import FeatureClass
from services.saelab.importing.distribution import Distribution
from services.saelab.importing.export_data import ExportData, find_export, read_export
from services.saelab.importing.labels import Target
from services.saelab.importing.token_names import TokenNames
from tests.saelab.fitting_sae import FEATURES, room_of, saelens
from tests.saelab.label_writers import activation, feature, jsonl_gz
from tests.saelab.tiny_export import activations_of, contexts, write_export


def read(model: Path, folder: Path, scratch: Path, **changes: Any) -> ExportData:
    sae = load_sae(saelens(model, scratch / "sae"))
    target = replace(Target.of(sae, [sae.weights_digest], allow_mismatch=False), **changes)
    export = find_export((folder,))
    assert export is not None
    return read_export(export, sae, target, room_of(model))


def run(model: Path, *arguments: object) -> Result:
    fixed = ["import", "--model", model, "--device", "cpu", "--threads", 1]
    return CliRunner().invoke(sae_app, [str(each) for each in (*fixed, *arguments)])


def test_statistics_examples_and_scales_are_imported_with_the_labels(
    tmp_path: Path, tiny_model: Path
) -> None:
    export, out = write_export(tmp_path / "1-tinyscope-res-40", tiny_model), tmp_path / "out"
    source_row = {
        "id": "1-tinyscope-res-40",
        "dataset": "tiny/text",
        "num_prompts": 12,
        "num_tokens_in_prompt": 40,
    }
    (export / "source.jsonl").write_text(json.dumps(source_row) + "\n")
    result = run(tiny_model, saelens(tiny_model, tmp_path / "sae"), "--out", out, "--labels", export)
    assert result.exit_code == 0, result.output
    assert "replayed through the model" in " ".join(result.output.split())
    table, sae = feature_table.read(out), load_sae(out)
    rows = list(table)
    assert len(rows) == FEATURES == len(label_table.read(out))
    assert table.info.weights_digest == sae.weights_digest
    assert table.info.reference_tokens == 480
    assert table.info.settings["import"]["dataset"] == "tiny/text"
    assert table.info.settings["import"]["source"] == "tiny-2b/1-tinyscope-res-40"
    values = torch.cat([activations_of(tiny_model, ids) for ids in contexts(tiny_model)])
    for row in rows:
        own = values[:, row.index]
        active = own[own > 0]
        width = float(active.max() - active.min()) / 50
        assert row.density == pytest.approx(len(active) / len(own), abs=1e-6)
        assert row.max_activation == pytest.approx(float(own.max()), rel=1e-3)
        quantile = torch.quantile(active, 0.999, interpolation="higher")
        assert row.scale == pytest.approx(float(quantile), abs=width)
        assert sum(row.histogram) == len(active)
        assert row.feature_class is not FeatureClass.DEAD
        top = [example for example in row.examples if example.kind == "top"]
        assert top[0].activations[top[0].peak] == pytest.approx(float(own.max()), rel=5e-3)
        assert all(a.activations[a.peak] >= b.activations[b.peak] for a, b in pairwise(top))
        assert top[0].quantile == 1.0
        assert any(example.kind == "quantile" and 0 < example.quantile <= 1 for example in row.examples)
        assert [token.weight for token in row.promoted] == [1.5]
        assert row.suppressed[0].weight == -1.0
    assert sae.scales is not None
    assert torch.equal(sae.scales, torch.tensor([row.scale for row in rows]))
    assert "40 of 120 promoted and suppressed tokens are not in the model's vocabulary" in " ".join(
        result.output.split()
    )
    text = rows[0].examples[0].text
    decoded = room_of(tiny_model).tokenizer.plain.decode
    assert any(text in decoded(ids) for ids in contexts(tiny_model))


def test_activations_in_other_units_are_converted(tmp_path: Path, tiny_model: Path) -> None:
    export = write_export(tmp_path / "export", tiny_model, units=10.25)
    data = read(tiny_model, export, tmp_path)
    assert data.check is not None
    assert data.check.status is Status.OK
    assert "other units, and is converted" in data.check.message
    assert data.features.factor == pytest.approx(1 / 10.25, rel=0.02)
    plain = read(tiny_model, write_export(tmp_path / "plain", tiny_model), tmp_path / "b")
    assert plain.features.factor == 1.0
    torch.testing.assert_close(data.features.scales, plain.features.scales, rtol=0.03, atol=1e-3)
    converted, same = list(data.features.rows()), list(plain.features.rows())
    assert converted[3].max_activation == pytest.approx(same[3].max_activation, rel=0.03)
    assert converted[3].examples[0].activations == pytest.approx(
        same[3].examples[0].activations, rel=0.03, abs=0.01
    )
    assert np.abs(np.subtract(converted[3].histogram, same[3].histogram)).sum() <= 0.1 * sum(
        same[3].histogram
    )


def test_an_export_of_another_sae_is_refused_unless_allowed(tmp_path: Path, tiny_model: Path) -> None:
    # Each feature gets the data of the opposite direction: it fires exactly where its own feature does not.
    export = write_export(tmp_path / "export", tiny_model, shift=FEATURES // 2)
    with pytest.raises(
        ImportRefused, match=r"0 fire here as well: the export is of another SAE\. If you know"
    ):
        read(tiny_model, export, tmp_path)
    data = read(tiny_model, export, tmp_path / "b", allow_mismatch=True)
    assert data.check is not None
    assert data.check.status is Status.FAIL


def test_an_export_of_another_tokenizer_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    rows = [activation(n, ["\u4e2d", "\u6587", "x"], [0.0, 1.0, 0.0]) for n in range(FEATURES)]
    jsonl_gz(tmp_path / "export" / "activations" / "batch-0.jsonl.gz", rows)
    with pytest.raises(ImportRefused, match="Only 0 of 40 exported examples are made of this model's tokens"):
        read(tiny_model, tmp_path / "export", tmp_path)


def test_a_few_examples_prove_nothing(tmp_path: Path, tiny_model: Path) -> None:
    ids = contexts(tiny_model)[0]
    names = [room_of(tiny_model).tokenizer.piece(token).decode() for token in ids]
    jsonl_gz(
        tmp_path / "export" / "activations" / "batch-0.jsonl.gz",
        [activation(0, names, activations_of(tiny_model, ids)[:, 0].tolist())],
    )
    data = read(tiny_model, tmp_path / "export", tmp_path)
    assert data.check is not None
    assert data.check.status is Status.WARN
    assert "too few to tell" in data.check.message


def test_tokens_are_found_however_they_are_spelled(tmp_path: Path, tiny_model: Path) -> None:
    tokenizer = room_of(tiny_model).tokenizer
    names = TokenNames(tokenizer)
    for token in contexts(tiny_model)[0]:
        text = tokenizer.piece(token).decode()
        name = tokenizer.plain.convert_ids_to_tokens(token)
        assert names.id_of(text) == names.id_of(name) == token
    ids = tokenizer.encode_text(" sea café\n")
    spelled = [tokenizer.plain.convert_ids_to_tokens(token) for token in ids]
    assert "".join(names.readable(spelled)) == " sea café\n"
    assert names.readable(["\u0120nowhere", "at", "\u010a"]) == (" nowhere", "at", "\n")
    by_name = read(tiny_model, write_export(tmp_path / "export", tiny_model, spelling="name"), tmp_path)
    assert by_name.check is not None
    assert by_name.check.status is Status.OK


def test_what_the_export_lacks_is_not_made_up(tmp_path: Path, tiny_model: Path) -> None:
    silent = feature(0, index=0, hookName="blocks.1.hook_resid_post")
    unknown = feature(1, frac_nonzero=None, maxActApprox=2.0)
    jsonl_gz(tmp_path / "export" / "features" / "batch-0.jsonl.gz", [silent, unknown])
    data = read(tiny_model, tmp_path / "export", tmp_path)
    rows = list(data.features.rows())
    assert data.check is None
    assert [row.feature_class for row in rows[:3]] == [
        FeatureClass.DEAD,
        FeatureClass.UNCLASSIFIED,
        FeatureClass.UNCLASSIFIED,
    ]
    assert (rows[1].max_activation, rows[1].scale, rows[0].scale, rows[2].scale) == (2.0, 2.0, 1.0, 1.0)
    assert rows[2].examples == ()
    assert sum(rows[1].histogram) == 0
    assert any("has 2 of the SAE's 40 features" in note for note in data.notes)
    assert any("1 features have no density" in note for note in data.notes)


BROKEN: list[tuple[str, list[dict[str, Any]], int, str, str]] = [
    ("features", [feature(0), feature(40)], 2, "index", "a whole number from 0 to 39"),
    ("features", [feature(0), feature(0)], 2, "index", "one line for each feature"),
    ("features", [feature(0, frac_nonzero=1.5)], 1, "frac_nonzero", "a number from 0 to 1"),
    ("features", [feature(0, pos_str=["a"])], 1, "pos_values", "as many numbers as pos_str has tokens, 1"),
    ("features", [feature(0, neg_str="a")], 1, "neg_str", "a list of texts"),
    (
        "features",
        [feature(0, freq_hist_data_bar_values=[1.0])],
        1,
        "freq_hist_data_bar_heights",
        "as many numbers as",
    ),
    (
        "features",
        [feature(0, freq_hist_data_bar_values=[2.0, 1.0], freq_hist_data_bar_heights=[1, 1])],
        1,
        "freq_hist_data_bar_values",
        "rising numbers",
    ),
    ("activations", [activation(0, ["a"], [1.0], values=[1.0, 2.0])], 1, "values", "as there are tokens, 1"),
    ("activations", [activation(0, ["a"], [1.0], values=["x"])], 1, "values", "a list of numbers"),
    ("activations", [activation(0, ["a"], [1.0], tokens=None)], 1, "values", "as many numbers"),
    ("activations", [activation(0, ["a"], [1.0], index="x")], 1, "index", "a whole number from 0 to 39"),
]


@pytest.mark.parametrize(("kind", "rows", "line", "field", "expected"), BROKEN)
def test_feature_data_that_is_malformed(
    tmp_path: Path,
    tiny_model: Path,
    kind: str,
    rows: list[dict[str, Any]],
    line: int,
    field: str,
    expected: str,
) -> None:
    file = jsonl_gz(tmp_path / "export" / kind / "batch-0.jsonl.gz", rows)
    with pytest.raises(LabelFileError) as caught:
        read(tiny_model, tmp_path / "export", tmp_path)
    assert (caught.value.file, caught.value.line, caught.value.field) == (file, line, field)
    assert expected in caught.value.expected


def test_two_exports_at_once_are_refused(tmp_path: Path) -> None:
    paths = tuple(
        jsonl_gz(tmp_path / name / "features" / "batch-0.jsonl.gz", [feature(0)]).parent for name in "ab"
    )
    with pytest.raises(LabelFileError, match="expected one export with features"):
        find_export(paths)


def test_a_histogram_of_bars_is_read_as_evenly_filled() -> None:
    found = Distribution.of([1.0, 3.0, 5.0, 7.0], [10, 0, 20, 10])
    assert found is not None
    assert found.edges.tolist() == [0, 2, 4, 6, 8]
    assert found.quantile(0.25) == pytest.approx(2.0)
    assert found.quantile(0.5) == pytest.approx(5.0)
    assert found.share_up_to(7.0) == pytest.approx(35 / 40)
    assert found.share_up_to(99.0) == 1.0
    assert found.counts([0, 1, 5, 6, 7]) == (5, 15, 10, 10)  # what lies above 7 is in the last bin
    assert Distribution.of([1.0], [10]) is None
    assert Distribution.of([1.0, 2.0], [0, 0]) is None

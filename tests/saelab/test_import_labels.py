"""Labels are read from the files of every tool; what is wrong is named by file, line and field."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest

from services.saelab import label_table
from services.saelab.errors import ImportRefused, LabelFileError
from services.saelab.importing.labels import LabelSet, label_of, merged
from services.saelab.label_table import Label, LabelTableInfo
from tests.saelab.label_writers import (
    TARGET,
    delphi_run,
    jsonl_gz,
    judged,
    read,
    texts,
    written,
)

# Plain files


def test_plain_files_of_every_ending_say_the_same(tmp_path: Path) -> None:
    rows = [{"index": 7, "label": "the sea"}, {"index": 3, "label": 'war, "armies"'}]
    table = 'index,label\n7,the sea\n3,"war, ""armies"""\n'
    files = [
        written(tmp_path / "a.csv", "\ufeff" + table.replace("\n", "\r\n")),
        written(tmp_path / "a.tsv", 'index\tlabel\n7\tthe sea\n3\t"war, ""armies"""\n'),
        written(tmp_path / "a.jsonl", rows),
        written(tmp_path / "a.json", json.dumps(rows, indent=2)),
        jsonl_gz(tmp_path / "b.jsonl.gz", rows),
    ]
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(table.encode()))
    for file in (*files, tmp_path / "b.csv.gz"):
        found = read(file)
        assert texts(found) == {3: 'war, "armies"', 7: "the sea"}, file
        assert found.format == "plain"
        assert {label.source for label in found.labels} == {f"file:{file.name}"}


def test_plain_files_bring_scores_and_more_where_they_have_them(tmp_path: Path) -> None:
    long = "words about ships, harbours, sailors, storms and everything else that has to do with the sea and its coasts"
    row = {
        "index": "7",
        "label": long,
        "source": "people",
        "score": 0.9,
        "fuzzing": "",
        "evidence": "20 contexts, two judges",
        "weights_digest": "b" * 64,
        "hook_point": "blocks.1.hook_resid_post",
        "colour": "blue",
    }
    found = read(written(tmp_path / "a.jsonl", [row]))
    label = found.labels[0]
    assert len(label.label) <= 80
    assert label.label.endswith("…")
    assert label.description == long
    assert (label.source, label.score, label.fuzzing) == ("people", 0.9, None)
    assert label.evidence == "20 contexts, two judges"
    assert found.notes == ("Ignored columns of a.jsonl: colour.",)


@pytest.mark.parametrize(
    ("name", "content", "line", "field", "expected"),
    [
        ("a.csv", "index,label\n40,x\n", 2, "index", "a whole number from 0 to 39"),
        ("a.csv", "index,label\n-1,x\n", 2, "index", "a whole number from 0 to 39"),
        ("a.csv", "index,label\n1.5,x\n", 2, "index", "a whole number"),
        ("a.csv", "index,label\n1,x\n\n1,y\n", 4, "index", "one line for each feature"),
        ("a.csv", "index,label\n1, \n", 2, "label", "a text"),
        ("a.csv", "feature,label\n1,x\n", 1, "index", "a column index"),
        ("a.csv", "index,label\n1,x,y\n", 2, "", "2 columns"),
        ("a.csv", 'index,label\n1,"x" y\n', 2, "", "comma-separated values"),
        ("a.csv", "index,label,score\n1,x,1.5\n", 2, "score", "a number from 0 to 1"),
        ("a.csv", "index,label,score\n1,x,high\n", 2, "score", "a number from 0 to 1"),
        ("a.csv", "index,label\n", None, "", "at least one label"),
        ("a.csv", "", None, "", "at least one label"),
        ("a.jsonl", '{"index": 1, "label": "x"}\n{"index": 2\n', 2, "", "a JSON object"),
        ("a.jsonl", '{"index": 1, "label": "x"}\n[2]\n', 2, "", "a JSON object"),
        ("a.jsonl", '{"index": true, "label": "x"}\n', 1, "index", "a whole number"),
        ("a.jsonl", '{"index": 1, "label": null}\n', 1, "label", "a text"),
        ("a.jsonl", '{"index": 1, "label": "x", "fuzzing": [1]}\n', 1, "fuzzing", "a number from 0 to 1"),
        ("a.json", '{"index": 1, "label": "x"}', None, "", "an array of objects"),
        ("a.json", '[{"index": 1, "label": "x"}, 2]', 2, "", "an object"),
    ],
)
def test_plain_files_that_are_malformed(
    tmp_path: Path, name: str, content: str, line: int | None, field: str, expected: str
) -> None:
    file = written(tmp_path / name, content)
    with pytest.raises(LabelFileError) as caught:
        read(file)
    error = caught.value
    assert (error.file, error.line, error.field) == (file, line, field)
    assert expected in error.expected
    assert str(file) in str(error)
    assert error.found


def test_files_that_are_cut_short_or_no_text(tmp_path: Path) -> None:
    whole = jsonl_gz(tmp_path / "a.jsonl.gz", [{"index": n, "label": "x" * 50} for n in range(40)])
    whole.write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(LabelFileError, match=r"a\.jsonl\.gz, line \d+: expected a whole gzip file"):
        read(whole)
    (tmp_path / "b.csv").write_bytes(b"index,label\n1,\xff\xfe\n")
    with pytest.raises(LabelFileError, match=r"b\.csv, line \d: expected UTF-8 text"):
        read(tmp_path / "b.csv")
    (tmp_path / "c.bin").write_bytes(b"?")
    with pytest.raises(LabelFileError, match=r"c\.bin: expected a labels\.parquet .* a delphi run"):
        read(tmp_path / "c.bin")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("weights_digest", "c" * 64, "the labels are for weights cccccccccccc"),
        ("hook_point", "model.layers.2", "the labels are for model.layers.2, the SAE reads model.layers.1"),
    ],
)
def test_labels_for_other_weights_or_another_block_are_refused_unless_allowed(
    tmp_path: Path, field: str, value: str, said: str
) -> None:
    file = written(tmp_path / "a.jsonl", [{"index": 1, "label": "x", field: value}])
    with pytest.raises(ImportRefused, match=rf"line 1: {field}: {said}.*--allow-mismatch"):
        read(file)
    found = read(file, replace(TARGET, allow_mismatch=True))
    assert texts(found) == {1: "x"}
    assert found.notes[0].endswith("(allowed)")


# Hearth's own


def test_our_own_labels_come_with_their_scores_if_they_are_for_these_weights(tmp_path: Path) -> None:
    label = Label(3, "the sea", "the sea and its coasts", "offline", 0.8, 0.7, 0.6, 0.01, 0.5, "40 contexts")
    label_table.write(tmp_path, LabelTableInfo("tiny", "b" * 64, 1, "0.1.0", {}), [label])
    for path in (tmp_path, tmp_path / "labels.parquet"):
        found = read(path)
        assert found.format == "hearth"
        assert found.labels[0].null == pytest.approx(0.6)
        assert found.labels[0].evidence == "40 contexts"
    label_table.write(tmp_path, LabelTableInfo("tiny", "c" * 64, 1, "0.1.0", {}), [label])
    with pytest.raises(ImportRefused, match="is for SAE tiny, weights cccccccccccc"):
        read(tmp_path)
    with pytest.raises(LabelFileError, match=r"index: expected features of this SAE, 0 to 2, found 3"):
        read(tmp_path, replace(TARGET, features=3, allow_mismatch=True))


# Delphi


def test_delphi_scores_are_balanced_accuracy_of_the_answered_contexts(tmp_path: Path) -> None:
    contexts = [judged(True, True)] * 3 + [judged(True, False), judged(True, None)]
    contexts += [judged(False, False), judged(False, True)]
    run = delphi_run(
        tmp_path / "run",
        {5: "words about\nthe sea", 2: "war", 9: "Explanation could not be parsed."},
        detection={5: contexts},
        fuzz={5: [judged(True, True), judged(False, False)], 2: [judged(True, True)]},
    )
    for path in (run, run / "explanations"):
        found = read(path)
        assert found.format == "delphi"
        assert texts(found) == {2: "war", 5: "words about the sea"}
        war, sea = found.labels
        assert sea.source == "delphi:tiny/explainer"
        assert sea.score == pytest.approx((3 / 4 + 1 / 2) / 2)
        assert sea.fuzzing == 1.0
        assert sea.evidence == (
            "detection: balanced accuracy 0.62 over 6 contexts; fuzz: balanced accuracy 1.00 over 2 contexts"
        )
        assert (war.score, war.fuzzing) == (None, None)  # no context without the feature was answered
        assert found.notes == ("1 explanations left out: delphi could not parse its explainer's answer.",)


def test_delphi_runs_of_several_hook_points_give_those_of_the_sae(tmp_path: Path) -> None:
    run = delphi_run(tmp_path / "run", {1: "war"}, "layers.2")
    with pytest.raises(ImportRefused, match=r"explains layers\.2, but the SAE reads model\.layers\.1"):
        read(run)
    assert texts(read(run, replace(TARGET, allow_mismatch=True))) == {1: "war"}
    delphi_run(run, {4: "sea"}, "model.layers.1")
    found = read(run)
    assert texts(found) == {4: "sea"}
    assert found.notes == ("1 explanations left out: they are of other hook points than model.layers.1.",)
    with pytest.raises(LabelFileError, match=r"file names: expected explanations of one hook point that is"):
        read(run, replace(TARGET, layer=5, hook_point="model.layers.5"))


def test_delphi_explanations_as_bare_text_or_json_objects(tmp_path: Path) -> None:
    (tmp_path / "layers.1_latent3.txt").write_text("bare text")
    (tmp_path / "layers.1_latent4.json").write_text('{"explanation": "of a record"}')
    assert texts(read(tmp_path)) == {3: "bare text", 4: "of a record"}
    assert {label.source for label in read(tmp_path).labels} == {"delphi"}


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("explanations/layers.1_latent3.txt", '"cut', "an explanation as a JSON string"),
        ("explanations/layers.1_latent3.txt", '""', "a text"),
        ("explanations/layers.1_latent3.json", '{"text": "x"}', "a text"),
        ("explanations/layers.1_latent40.txt", '"x"', "a whole number from 0 to 39"),
        ("explanations/layers.1_latent1.json", '"x"', "one explanation for each latent"),
        ("scores/detection/layers.1_latent1.txt", "{}", "a list of judged contexts"),
        ("scores/detection/layers.1_latent1.txt", '[{"prediction": true}]', "true or false"),
        (
            "scores/fuzz/layers.1_latent1.txt",
            '[{"activating": true, "prediction": 2}]',
            "true, false or null",
        ),
    ],
)
def test_delphi_files_that_are_malformed(tmp_path: Path, file: str, content: str, expected: str) -> None:
    run = delphi_run(tmp_path, {1: "war"})
    (run / file).write_text(content)
    with pytest.raises(LabelFileError) as caught:
        read(run)
    assert expected in caught.value.expected
    assert caught.value.file.stem == (run / file).stem


# Several at once


def test_of_several_files_the_first_counts(tmp_path: Path) -> None:
    sets = [
        LabelSet("plain", tmp_path / name, tuple(label_of(index, name, source=name) for index in indices))
        for name, indices in (("a", (1, 5)), ("b", (0, 5)), ("c", (5,)))
    ]
    labels, notes = merged(sets)
    assert [(label.index, label.label) for label in labels] == [(0, "b"), (1, "a"), (5, "a")]
    assert len(notes) == 2
    assert "1 labels of" in notes[0]

"""Labels are read from Neuronpedia's exports; what is wrong is named by file, line and field."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.saelab.errors import ImportRefused, LabelFileError
from services.saelab.importing.label_formats import label_format
from tests.saelab.label_writers import TARGET, explanation, feature, jsonl_gz, read, texts, written


def test_neuronpedia_explanations_from_folder_file_and_the_old_api(tmp_path: Path) -> None:
    export = tmp_path / "1-tinyscope-res-40"
    first = jsonl_gz(
        export / "explanations" / "batch-0.jsonl.gz", [explanation(0, "war"), explanation(10, "sea")]
    )
    jsonl_gz(export / "explanations" / "batch-10.jsonl.gz", [explanation(2, "bread")])
    jsonl_gz(export / "explanations" / "batch-2.jsonl.gz", [explanation(1, ""), explanation(39, "songs ")])
    everything = {0: "war", 2: "bread", 10: "sea", 39: "songs"}
    for path in (export, export / "explanations"):
        found = read(path)
        assert found.format == "neuronpedia"
        assert texts(found) == everything
        assert found.notes == ("1 explanations left out: they are empty.",)
    assert texts(read(first)) == {0: "war", 10: "sea"}
    assert read(first).labels[0].source == "neuronpedia:gpt-4o-mini:oai_token-act-pair"
    old = written(
        tmp_path / "old.json", json.dumps([explanation(3, "moon", index=3, explanationModelName=None)])
    )
    assert texts(read(old)) == {3: "moon"}
    assert read(old).labels[0].source == "neuronpedia:oai_token-act-pair"


def test_of_several_explainers_the_one_of_most_features_is_taken(tmp_path: Path) -> None:
    other = {"typeName": "np_max-act", "explanationModelName": "gemini"}
    rows = [
        explanation(0, "by few", **other),
        explanation(0, "by most"),
        explanation(1, "by most too"),
        explanation(2, "only by few", **other),
        explanation(1, "the same explainer again"),
        explanation(5, "by most as well"),
    ]
    found = read(jsonl_gz(tmp_path / "explanations" / "batch-0.jsonl.gz", rows).parent)
    assert texts(found) == {0: "by most", 1: "by most too", 2: "only by few", 5: "by most as well"}
    assert (
        "neuronpedia:gpt-4o-mini:oai_token-act-pair (3), neuronpedia:gemini:np_max-act (2)" in found.notes[0]
    )


@pytest.mark.parametrize(
    ("changes", "line", "field", "expected"),
    [
        ({"index": "40"}, 2, "index", "a whole number from 0 to 39"),
        ({"index": None}, 2, "index", "a whole number from 0 to 39"),
        ({"description": 7}, 2, "description", "a text"),
        ({"modelId": "other"}, 2, "modelId", "tiny-2b/1-tinyscope-res-40, as in the lines before it"),
        ({"layer": "2-tinyscope-res-40"}, 2, "layer", "as in the lines before it"),
        ({"layer": None}, 2, "layer", "a text"),
    ],
)
def test_neuronpedia_lines_that_are_malformed(
    tmp_path: Path, changes: dict[str, Any], line: int, field: str, expected: str
) -> None:
    rows = [explanation(0, "war"), explanation(1, "sea", **changes)]
    file = jsonl_gz(tmp_path / "explanations" / "batch-0.jsonl.gz", rows)
    with pytest.raises(LabelFileError) as caught:
        read(tmp_path)
    assert (caught.value.file, caught.value.line, caught.value.field) == (file, line, field)
    assert expected in caught.value.expected


@pytest.mark.parametrize(
    ("source", "fits"),
    [
        ("1-tinyscope-res-40", True),
        ("2-res-jb", True),  # of hook_resid_pre: the output of block 1
        ("3-tinyscope-res-40", False),
        ("0-tinyscope-res-40", False),
        ("1-gemmascope-mlp-16k", False),
        ("1-gemmascope-transcoder-16k", False),
        ("1-gemmascope-att-16k", False),
        ("my-own-source", True),
    ],
)
def test_neuronpedia_sources_of_other_places_are_refused(tmp_path: Path, source: str, fits: bool) -> None:
    file = jsonl_gz(tmp_path / "batch-0.jsonl.gz", [explanation(0, "war", layer=source)])
    if fits:
        assert texts(read(file)) == {0: "war"}
        return
    with pytest.raises(ImportRefused, match=r"batch-0\.jsonl\.gz, line 1: layer: .*--allow-mismatch"):
        read(file)
    assert texts(read(file, replace(TARGET, allow_mismatch=True))) == {0: "war"}


def test_the_source_that_the_sae_names_is_what_counts(tmp_path: Path) -> None:
    file = jsonl_gz(tmp_path / "batch-0.jsonl.gz", [explanation(0, "war")])
    assert read(file, replace(TARGET, neuronpedia_id="tiny-2b/1-tinyscope-res-40")).labels
    with pytest.raises(
        ImportRefused, match=r"the labels are for tiny-2b/1-tinyscope-res-40, the SAE's files name"
    ):
        read(file, replace(TARGET, neuronpedia_id="tiny-2b/1-tinyscope-res-80"))
    hooked = [feature(0, hookName="blocks.2.hook_resid_post")]
    export = jsonl_gz(tmp_path / "features" / "batch-0.jsonl.gz", hooked)
    assert label_format(export.parent).name == "neuronpedia"

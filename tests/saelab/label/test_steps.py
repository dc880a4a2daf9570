"""`hearth sae label`, `score` and `report` as a user runs them, on the tiny lab."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.inference.sae.write_saelens import write_saelens
from services.saelab import feature_table, label_table
from services.saelab.cli import sae_app
from services.saelab.documents import TRAIN
from services.saelab.feature_rows import Example, FeatureClass, FeatureRow, FeatureTableInfo, TokenWeight
from services.saelab.label.report import REPORT, escaped
from services.saelab.label.workbench import Workbench
from services.saelab.label_table import LABELS
from tests.saelab.label.made_texts import bag_of_stems
from tests.saelab.test_evaluate import FEATURES, random_sae

DEAD = 3
EXAMPLES = (
    Example("top", 1.0, (" the", " *sea*", "\n", "a"), (0.0, 4.0, 1.5, 0.5), 1, "assistant", "d1"),
    Example("quantile", 0.5, (" ship",), (2.0,), 0, "", "d2"),
)


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(sae_app, [str(argument) for argument in arguments])
    return result.exit_code, " ".join(result.output.split())


class Lab:
    """An SAE with its feature table, and the options of the commands."""

    def __init__(self, folder: Path, corpus: Path, model: Path) -> None:
        self.sae, self.corpus = folder / "sae", corpus
        sae = replace(random_sae(), median_norm=4.0)
        write_saelens(self.sae, sae, weights="float32")
        rows = [
            FeatureRow(
                index,
                0.1,
                1.0,
                4.0,
                (1,),
                FeatureClass.DEAD if index == DEAD else FeatureClass.LEXICAL,
                promoted=(TokenWeight(" wave", 1, 1.0),),
                examples=EXAMPLES,
            )
            for index in range(FEATURES)
        ]
        self.info = FeatureTableInfo(
            sae.id, sae.weights.digest(), str(model), sae.hook_point, FEATURES, (0.0, 1.0), "t", 9, 9, "0.1.0"
        )
        feature_table.write(self.sae, self.info, rows)
        self.options = [
            "--corpus", corpus, "--text", corpus / TRAIN, "--work", folder / "work", "--model", model,
            "--threads", 1, "--tokens", 3000,
        ]  # fmt: skip

    def runs(self, step: str, *options: object) -> str:
        code, output = run(step, self.sae, *self.options, *options)
        assert code == 0, output
        return output


@pytest.fixture
def lab(tmp_path: Path, tiny_corpus: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("HEARTH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Workbench, "_load_encoder", lambda self: bag_of_stems)
    return Lab(tmp_path, tiny_corpus, tiny_model)


def test_the_three_steps_run_from_features_to_a_report(lab: Lab) -> None:
    assert "not tested" in lab.runs("label", "--no-titles")
    labels = list(label_table.read(lab.sae))
    assert [label.index for label in labels] == list(range(FEATURES))
    assert labels[DEAD].label == "unlabelled: never active"
    explained = [label for label in labels if label.is_explained]
    assert len(explained) > FEATURES // 2
    assert {label.source for label in explained} == {"offline"}

    lab.runs("score")
    table = label_table.read(lab.sae)
    tested = [label for label in table if label.score is not None]
    assert len(tested) > FEATURES // 2
    assert all(label.label.startswith("unlabelled: ") != label.is_labelled for label in tested)
    assert table.info.settings["score"]["judge"] == "offline"
    assert table.info.settings["label"]["explainer"] == "offline"

    code, output = run("report", lab.sae, "--features", 7, "--seed", 2)
    assert code == 0, output
    report = (lab.sae / REPORT).read_text("utf-8")
    shown = [int(index) for index in re.findall(r"^## (\d+): ", report, re.MULTILINE)]
    assert len(shown) == 7
    assert shown == sorted(shown)
    assert DEAD not in shown
    for index in shown:
        assert f"## {index}: {escaped(labels[index].candidate)}" in report.replace("unlabelled: ", "")
    assert r"- 4.0: the **\*sea\*⏎**a" in report
    assert "- 50% 2.0: **ship**" in report
    assert "Promotes wave" in report
    assert f"over the {FEATURES - 1} live features" in report
    run("report", lab.sae, "--features", 7, "--seed", 2)
    assert (lab.sae / REPORT).read_text("utf-8") == report


def test_some_features_can_be_labelled_first_and_the_others_later(lab: Lab) -> None:
    lab.runs("label", "--no-titles", "--features", 5)
    first = list(label_table.read(lab.sae))
    assert sum(label.label == "unlabelled: not labelled yet" for label in first) == FEATURES - 1 - 5
    lab.runs("label", "--no-titles", "--features", 9)
    second = list(label_table.read(lab.sae))
    assert sum(label.label == "unlabelled: not labelled yet" for label in second) <= FEATURES - 1 - 9
    kept = [label for label in first if label.is_explained]
    assert all(second[label.index] == label for label in kept)


def test_steps_out_of_order_say_which_comes_first(lab: Lab, tmp_path: Path) -> None:
    code, output = run("score", lab.sae, *lab.options)
    assert (code, "make it with `hearth sae label`" in output) == (1, True)
    code, output = run("report", lab.sae)
    assert (code, "make it with `hearth sae label`" in output) == (1, True)
    code, output = run("label", lab.sae, "--corpus", tmp_path / "none")
    assert (code, "hearth sae write" in output) == (1, True)
    (lab.sae / feature_table.FEATURES).unlink()
    code, output = run("label", lab.sae, *lab.options)
    assert (code, "make it with `hearth sae features`" in output) == (1, True)


def test_tables_of_other_weights_are_refused(lab: Lab) -> None:
    lab.runs("label", "--no-titles")
    labels = label_table.read(lab.sae)
    label_table.write(lab.sae, replace(labels.info, weights_digest="other"), list(labels))
    code, output = run("score", lab.sae, *lab.options)
    assert (code, "about another SAE" in output) == (1, True)
    code, output = run("report", lab.sae)
    assert (code, "are of different weights" in output) == (1, True)
    (lab.sae / LABELS).unlink()
    feature_table.write(lab.sae, replace(lab.info, weights_digest="other"), list(feature_table.read(lab.sae)))
    code, output = run("label", lab.sae, *lab.options)
    assert (code, "run `hearth sae features` again" in output) == (1, True)

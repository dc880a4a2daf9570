"""Labels made without a language model, of features whose meaning is known, and how they are told right from wrong."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from services.encoder.minilm import load_encoder
from services.saelab.errors import RunMismatch, SaeLabError
from services.saelab.label import asked, offline  # noqa: F401 - both register themselves
from services.saelab.label.contexts import SampleSizes
from services.saelab.label.explainers import ExplainerSettings, explain_all, explainer, make_explainer
from services.saelab.label.judges import OfflineScorer, judge, make_judge
from services.saelab.label.score import make_test, null_of, score_all
from services.saelab.label_table import Label
from tests.saelab.label.made_texts import PLANTED, SEA, MadeBench

NAMES = list(PLANTED)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> MadeBench:
    return MadeBench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def labels(bench: MadeBench) -> dict[str, Label]:
    made = explain_all(bench, make_explainer(bench, ExplainerSettings()), range(len(NAMES)))
    return dict(zip(NAMES, made, strict=True))


def test_planted_features_are_called_by_what_they_fire_on(labels: dict[str, Label]) -> None:
    assert labels["word"].label == 'the word "harbour"'
    assert labels["digits"].label in ("digits", "years")
    assert labels["line"].label == "line breaks"
    assert labels["article"].label == '"of", "a"'
    said = labels["sea"].label.replace('"', "").split(", ")
    assert len(said) >= 4
    assert set(said) <= set(SEA)


def test_labels_say_who_made_them_and_from_what(labels: dict[str, Label]) -> None:
    label = labels["word"]
    assert label.source == "offline"
    assert label.score is None
    assert label.confidence == pytest.approx(1.0, abs=0.1)
    assert "'harbour' 100%" in label.description
    assert "promotes: wave" in label.description
    assert label.created.year > 2020


def test_a_feature_without_activations_gets_no_label(labels: dict[str, Label]) -> None:
    assert labels["silent"].label == "unlabelled: promotes wave"
    assert labels["silent"].source == "none"
    assert not labels["silent"].is_explained


@pytest.fixture(scope="module")
def tested(bench: MadeBench, labels: dict[str, Label]) -> dict[str, Label]:
    made = list(labels.values())
    return dict(zip(NAMES, score_all(bench, made, OfflineScorer(bench, made)), strict=True))


@pytest.mark.parametrize("name", ["word", "digits", "sea", "article", "judge", "trees"])
def test_a_right_label_beats_the_null(tested: dict[str, Label], name: str) -> None:
    label = tested[name]
    assert label.is_labelled
    assert label.score is not None
    assert label.null is not None
    assert label.fuzzing is not None
    assert label.p_value is not None
    assert label.score > 0.9
    assert label.score > label.null
    assert label.fuzzing > 0.9
    assert label.p_value < 0.05
    assert re.fullmatch(
        r"judge offline; \d+ active and \d+ silent held-out contexts \(\d+ of neighbours\)", label.evidence
    )


@pytest.mark.parametrize("name", ["noise", "other noise"])
def test_a_label_of_noise_does_not(tested: dict[str, Label], name: str) -> None:
    assert tested[name].label.startswith("unlabelled: ")
    assert tested[name].score == pytest.approx(0.5, abs=0.15)


def test_what_no_explainer_found_is_not_tested(tested: dict[str, Label], labels: dict[str, Label]) -> None:
    assert tested["silent"] == labels["silent"]


def test_another_features_label_does_not_beat_the_null(bench: MadeBench, labels: dict[str, Label]) -> None:
    wrong = list(labels.values())
    wrong[0] = replace(wrong[0], label=labels["digits"].candidate)
    refuted = score_all(bench, wrong, OfflineScorer(bench, wrong))[0]
    assert refuted.label == f"unlabelled: {labels['digits'].candidate}"
    assert refuted.score is not None
    assert refuted.score < 0.7


def test_a_feature_too_rare_to_be_tested_keeps_no_label(bench: MadeBench, labels: dict[str, Label]) -> None:
    made = [replace(labels["silent"], label="the sea", source="made"), labels["word"]]
    rare = score_all(bench, made, OfflineScorer(bench, made))[0]
    assert rare.label == "unlabelled: the sea"
    assert rare.score is None
    assert "too rare" in rare.evidence


def test_the_test_never_sees_a_document_that_labels_are_made_from(bench: MadeBench) -> None:
    for feature in range(len(NAMES)):
        test = make_test(bench, feature)
        assert not bench.contexts.for_labels[test.sample.all].any()
        assert not bench.contexts.for_labels[[marked.context for marked in test.marked]].any()


def test_marked_tokens_are_those_that_fire_and_as_many_others(bench: MadeBench) -> None:
    firing = set(bench.firings.of(NAMES.index("sea"))[0].tolist())
    marked = make_test(bench, NAMES.index("sea")).marked
    assert len(marked) == 16
    for right, wrong in zip(marked[::2], marked[1::2], strict=True):
        assert right.context == wrong.context
        assert len(right.tokens) == len(wrong.tokens) > 0
        assert set(right.tokens.tolist()) <= firing
        assert not set(wrong.tokens.tolist()) & firing


def test_the_null_is_made_of_labels_of_other_features() -> None:
    labels = [Label(n, f"label {n}", "", "made") for n in range(9)] + [Label(9, "", "", "made")]
    null = null_of(labels, 5, seed=0)
    assert set(null) == set(range(9))
    for place, others in null.items():
        assert len(set(others.tolist())) == 5
        assert place not in others
        assert 9 not in others
    assert {tuple(others) for others in null_of(labels, 5, seed=0).values()} == {
        tuple(others) for others in null.values()
    }


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    tested: list[int] = []

    class Counting(OfflineScorer):
        def detect(self, label, null, test):  # type: ignore[no-untyped-def]
            if len(tested) == 3:
                raise KeyboardInterrupt
            tested.append(label)
            return super().detect(label, null, test)

    bench = MadeBench(tmp_path)
    labels = explain_all(bench, make_explainer(bench, ExplainerSettings()), range(8, 14))
    with pytest.raises(KeyboardInterrupt):
        score_all(bench, labels, Counting(bench, labels))
    done = tested.copy()
    whole = score_all(bench, labels, OfflineScorer(bench, labels))
    tested.clear()
    again = score_all(bench, labels, Counting(bench, labels))
    assert done == [0, 1, 2]
    assert tested == []
    assert again == whole
    assert explain_all(bench, make_explainer(bench, ExplainerSettings()), range(8, 14)) == labels
    assert (tmp_path / "work" / "labels-offline.jsonl").read_text().count("\n") == 7


def test_a_journal_of_other_settings_is_not_gone_on_with(tmp_path: Path) -> None:
    bench = MadeBench(tmp_path)
    explain_all(bench, make_explainer(bench, ExplainerSettings()), [0])
    other = MadeBench(tmp_path, SampleSizes(5, 5))
    with pytest.raises(RunMismatch, match="different: contexts"):
        explain_all(other, make_explainer(other, ExplainerSettings()), [0])


def test_unknown_explainers_and_judges_are_refused_with_the_choices(bench: MadeBench) -> None:
    with pytest.raises(SaeLabError, match="no explainer 'x'; known: model, offline, openai"):
        make_explainer(bench, ExplainerSettings("x"))
    with pytest.raises(SaeLabError, match="no judge 'x'; known: model, offline, openai"):
        make_judge(bench, [], ExplainerSettings("x"))
    with pytest.raises(ValueError, match="registered already"):
        explainer("offline")
    with pytest.raises(ValueError, match="registered already"):
        judge("offline")


@pytest.mark.model
def test_with_the_real_encoder_a_label_in_free_words_is_told_right(
    tmp_path: Path, sentence_encoder: Path
) -> None:
    bench = MadeBench(tmp_path, encode=load_encoder(sentence_encoder))
    labels = [Label(n, f'the word "{name}"', "", "hand") for n, name in enumerate(NAMES) if n > 7]
    labels = [Label(2, "boats and seafaring", "", "hand"), *labels]  # None of the words in the texts.
    right = score_all(bench, labels, OfflineScorer(bench, labels))[0]
    assert right.is_labelled
    assert right.score is not None
    assert right.score > 0.75

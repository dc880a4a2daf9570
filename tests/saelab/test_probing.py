from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from services.saelab.documents import Document, Message
from services.saelab.errors import SaeLabError
from services.saelab.probing import (
    LEAST,
    Kind,
    Labelled,
    Probe,
    auroc,
    chosen_passages,
    logistic,
    measure_probe,
    read_probes,
)

PROBE = Probe("french", Kind(("wiki-fr",)), Kind(("wiki-*",)))


def planted(seed: int, passages: int = 400, features: int = 60) -> Labelled:
    """Feature 7 is active on half of the positive passages alone, ten dimensions lean their way; all else is noise."""
    draw = np.random.default_rng(seed)
    positive = draw.random(passages) < 0.5
    f = draw.exponential(size=(passages, features)).astype(np.float32) * (
        draw.random((passages, features)) < 0.3
    )
    f[:, 7] = np.where(positive & (draw.random(passages) < 0.5), 2.0, 0.0)
    stream = draw.normal(size=(passages, 20)).astype(np.float32)
    stream[:, :10] += 0.5 * positive[:, None]
    return Labelled(f, stream, positive, draw.random(passages) < 0.5)


def test_the_feature_that_tells_the_kinds_apart_is_found_and_scored_on_the_other_half() -> None:
    labelled = planted(0)
    found = measure_probe(PROBE, labelled)
    assert found is not None
    assert found.best_feature == 7
    held = ~labelled.fitting
    expected = auroc(labelled.features[held, 7].astype(np.float64), labelled.positive[held])
    assert found.features[0] == pytest.approx(expected)
    assert found.features[0] == pytest.approx(0.75, abs=0.07)
    assert found.stream > found.dimensions[1] > found.dimensions[0] > 0.55
    assert (found.positive, found.negative) == (labelled.positive.sum(), (~labelled.positive).sum())


def test_a_feature_that_is_silent_on_the_positive_ones_tells_them_too() -> None:
    labelled = planted(1)
    labelled.features[:, 7] = np.where(labelled.positive, 0.0, 1.0)
    found = measure_probe(PROBE, labelled)
    assert found is not None
    assert found.features == (1.0, 1.0)


def test_labels_that_mean_nothing_score_as_chance() -> None:
    scores = []
    for seed in range(8):
        labelled = planted(seed)
        shuffled = np.random.default_rng(seed).permutation(labelled.positive)
        found = measure_probe(PROBE, Labelled(labelled.features, labelled.stream, shuffled, labelled.fitting))
        assert found is not None
        scores += [*found.features, *found.dimensions, found.stream]
    assert np.mean(scores) == pytest.approx(0.5, abs=0.04)


def test_a_probe_with_too_few_passages_of_a_kind_in_a_half_is_left_out() -> None:
    labelled = planted(2)
    few = np.flatnonzero(labelled.positive & labelled.fitting)[LEAST - 1 :]
    labelled.fitting[few] = False
    assert measure_probe(PROBE, labelled) is None


def test_auroc_counts_pairs_and_ties_half() -> None:
    scores, positive = np.array([0.0, 1.0, 1.0, 3.0]), np.array([False, True, False, True])
    assert auroc(scores, positive) == pytest.approx((1 + 0.5 + 1 + 1) / 4)


def test_the_regression_finds_the_direction_that_labels_were_drawn_by() -> None:
    draw = np.random.default_rng(5)
    x = draw.normal(size=(4000, 4))
    true = np.array([2.0, -1.0, 0.0, 0.5])
    positive = draw.random(4000) < 1 / (1 + np.exp(-(x @ true + 1.0)))
    found = logistic(x, positive)
    assert found @ true / np.linalg.norm(found) / np.linalg.norm(true) > 0.995


def test_passages_are_windows_of_documents_that_a_probe_asks_for() -> None:
    documents = [
        Document("a", "wiki-fr", "bonjour"),
        Document("b", "novel", "a whale"),
        Document("c", "wiki-en", messages=(Message("user", "hi"),)),
    ]
    chat = Probe("chat", Kind(("wiki-en",), chat=True), Kind(("novel",), chat=True))
    owners, lengths = [0, 0, 0, 1, 2, 2], [256, 256, 20, 256, 31, 40]
    assert chosen_passages([PROBE], documents, owners, lengths, 1) == [0, 5]
    assert chosen_passages([PROBE], documents, owners, lengths, 2) == [0, 1, 5]
    assert chosen_passages([chat], documents, owners, lengths, 2) == [5]


def test_the_committed_probes_have_different_kinds() -> None:
    probes = read_probes()
    assert len(probes) >= 8
    for probe in probes:
        assert not set(probe.positive.sentences) & set(probe.negative.sentences)
        assert probe.positive != probe.negative


@pytest.mark.parametrize(
    "text",
    [
        "[[probe]]\nname = 'x'\npositive = { sources = ['a'] }",
        "[[probe]]\nname = 'x'\npositive = { sources = ['a'] }\nnegative = { sauces = ['b'] }",
        "[[probe]]\nname = 'x'\npositive = { sources = ['a'] }\nnegative = { sources = ['b'], sentences = ['c'] }",
        "probe = 3",
    ],
)
def test_a_faulty_list_of_probes_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "probes.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SaeLabError, match="no list of probes"):
        read_probes(path)

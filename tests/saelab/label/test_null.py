from __future__ import annotations

import numpy as np
import pytest

from services.saelab.label.null import auroc, beats_null, p_value


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    random = np.random.default_rng(0)
    positive = random.integers(0, 4, (3, 7)).astype(np.float32)
    negative = random.integers(0, 4, (3, 11)).astype(np.float32)
    pairs = positive[:, :, None] - negative[:, None, :]
    plain = ((pairs > 0) + 0.5 * (pairs == 0)).mean((1, 2))
    np.testing.assert_allclose(auroc(positive, negative), plain)


def test_auroc_of_verdicts_is_the_balanced_accuracy() -> None:
    right, wrong = np.array([[1, 1, 1, 0]], np.float32), np.array([[1, 0, 0, 0, 0]], np.float32)
    assert auroc(right, wrong)[0] == pytest.approx((0.75 + 0.8) / 2)


def test_a_p_value_counts_the_label_itself_and_ties_against_it() -> None:
    assert p_value(0.9, np.array([0.5, 0.9, 0.95, 0.1])) == 3 / 5
    assert p_value(0.9, np.zeros(0)) == 1.0


def test_hardly_any_label_that_says_nothing_beats_the_null() -> None:
    random = np.random.default_rng(1)
    scores = random.normal(0.5, 0.05, (200, 400))  # Row: contexts; each label is as good as any other.
    p_values = np.array([p_value(row[0], row[1:]) for row in scores])
    assert (p_values <= 0.05).mean() == pytest.approx(0.05, abs=0.04)
    assert beats_null(scores[:, 0], p_values).sum() <= 2


def test_labels_that_tell_more_than_others_beat_the_null() -> None:
    p_values = np.array([0.002] * 6 + [0.5] * 4)
    beats = beats_null(np.array([0.8] * 5 + [0.45] + [0.6] * 4), p_values)
    assert beats.tolist() == [True] * 5 + [False] * 5  # A score below chance never does.
    assert beats_null(np.zeros(0), np.zeros(0)).tolist() == []

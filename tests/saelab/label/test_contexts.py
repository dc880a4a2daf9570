from __future__ import annotations

from itertools import pairwise

import numpy as np

from services.saelab.label.contexts import LENGTH, SampleSizes, cut, draw
from tests.saelab.label.made_texts import PLANTED, firings_of, made_documents

FIRINGS = firings_of(made_documents(), list(PLANTED.values()))
CONTEXTS = cut(FIRINGS)
NAMES = list(PLANTED)


def test_contexts_are_the_whole_text_in_even_parts() -> None:
    assert CONTEXTS.starts[0] == 0
    assert CONTEXTS.starts[-1] == len(FIRINGS.pieces)
    sizes = np.diff(CONTEXTS.starts)
    assert sizes.min() >= LENGTH // 2
    assert sizes.max() < LENGTH * 3 // 2
    for start, end in pairwise(CONTEXTS.starts):
        assert (FIRINGS.windows[start:end] == FIRINGS.windows[start]).all()
    assert CONTEXTS.texts[0].startswith(made_documents()[0][:20])


def test_the_largest_activation_of_each_context_is_found() -> None:
    feature = NAMES.index("sea")
    numbers, largest = CONTEXTS.of(FIRINGS, feature)
    tokens, values = FIRINGS.of(feature)
    for number, value in zip(numbers[:20], largest[:20], strict=True):
        assert value == values[CONTEXTS.number[tokens] == number].max()
    assert len(numbers) == len(np.unique(CONTEXTS.number[tokens]))


def test_a_sample_tells_active_from_silent_contexts_and_keeps_documents_apart() -> None:
    feature, neighbor = NAMES.index("word"), NAMES.index("sea")
    sizes = SampleSizes(12, 20, hard_share=0.5)
    samples = [
        draw(FIRINGS, CONTEXTS, feature, [neighbor], sizes, 0, for_labels=for_labels)
        for for_labels in (True, False)
    ]
    active = set(CONTEXTS.of(FIRINGS, feature)[0].tolist())
    near = set(CONTEXTS.of(FIRINGS, neighbor)[0].tolist())
    for sample in samples:
        assert len(sample.active) == 12
        assert len(sample.silent) == 20
        assert set(sample.active.tolist()) <= active
        assert not set(sample.silent.tolist()) & active
        assert sample.hard == 10
        assert set(sample.silent[-10:].tolist()) <= near
    documents = [set(CONTEXTS.documents[sample.all].tolist()) for sample in samples]
    assert not documents[0] & documents[1]


def test_active_contexts_come_from_all_sizes_of_activation() -> None:
    feature = NAMES.index("sea")
    sample = draw(FIRINGS, CONTEXTS, feature, [], SampleSizes(16, 4), 0, for_labels=True)
    numbers, largest = CONTEXTS.of(FIRINGS, feature)
    of = dict(zip(numbers.tolist(), largest.tolist(), strict=True))
    drawn = np.array([of[number] for number in sample.active.tolist()])
    all_of = largest[CONTEXTS.for_labels[numbers]]
    assert drawn[:4].min() >= np.quantile(all_of, 0.7)  # The strongest slice is drawn first.
    assert drawn[-4:].max() <= np.quantile(all_of, 0.3)


def test_a_feature_that_is_never_active_has_no_active_contexts() -> None:
    sample = draw(FIRINGS, CONTEXTS, NAMES.index("silent"), [], SampleSizes(5, 5), 0, for_labels=True)
    assert len(sample.active) == 0
    assert len(sample.silent) == 5

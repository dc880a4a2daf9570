"""A registry of judges, which tell how well labels fit contexts, and the one that needs no language model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from services.saelab.errors import SaeLabError
from services.saelab.label.explainers import ExplainerSettings
from services.saelab.label.judge import OfflineJudge
from services.saelab.label.score import Judge, Marked, Test, make_test
from services.saelab.label.workbench import Workbench
from services.saelab.label_table import Label

Factory = Callable[[Workbench, Sequence[Label], ExplainerSettings], Judge]
JUDGES: dict[str, Factory] = {}
_BEFORE, _AFTER = 5, 3
"""Tokens around a marked one that are compared with the label."""


def judge(name: str) -> Callable[[Factory], Factory]:
    """Registers a judge. Raises ValueError where the name is taken."""
    if name in JUDGES:
        raise ValueError(f"judge {name!r} is registered already")

    def register(factory: Factory) -> Factory:
        JUDGES[name] = factory
        return factory

    return register


def make_judge(bench: Workbench, labels: Sequence[Label], settings: ExplainerSettings) -> Judge:
    """The judge of that name. Raises SaeLabError, listing the choices."""
    if settings.name not in JUDGES:
        raise SaeLabError(f"no judge {settings.name!r}; known: {', '.join(sorted(JUDGES))}")
    return JUDGES[settings.name](bench, labels, settings)


class OfflineScorer:
    """Asks the offline judge."""

    source = "offline"
    null_labels = 499

    def __init__(self, bench: Workbench, labels: Sequence[Label]) -> None:
        self._bench = bench
        texts = [label.candidate for label in labels]
        vectors = bench.embed(texts, "labels embedded")
        self._vectors = vectors
        self._judge = OfflineJudge(bench.contexts, bench.atoms, texts, vectors, bench.context_vectors)
        tests = (make_test(bench, label.index) for label in labels if label.is_explained)
        around = sorted({self._around(marked) for test in tests for marked in test.marked})
        self._place = {text: place for place, text in enumerate(around)}
        self._around_vectors = bench.embed(around, "marked tokens embedded")

    def detect(
        self, label: int, null: NDArray[np.int64], test: Test
    ) -> Float[NDArray[np.float32], "labels contexts"]:
        """Meaning and mentions."""
        return self._judge.detect(np.concatenate([[label], null]).astype(np.int64), test.sample.all)

    def fuzz(self, label: int, test: Test) -> Float[NDArray[np.float32], " marked"]:
        """What is true of the marked tokens, and what stands around the middle one of them."""
        fits = []
        for marked in test.marked:
            hits = self._judge.hits(np.array([label]), marked.tokens)[0]
            about = self._around_vectors[self._place[self._around(marked)]] @ self._vectors[label]
            fits.append(float(np.log2(1.0 + hits).mean() + about))
        return np.array(fits, np.float32)

    def _around(self, marked: Marked) -> str:
        firings = self._bench.firings
        token = int(marked.tokens[len(marked.tokens) // 2])
        low, high = max(0, token - _BEFORE), min(len(firings.pieces), token + _AFTER + 1)
        same = firings.windows[low:high] == firings.windows[token]
        return "".join(p for p, inside in zip(firings.pieces[low:high], same, strict=True) if inside).strip()


@judge("offline")
def _offline(bench: Workbench, labels: Sequence[Label], settings: ExplainerSettings) -> Judge:
    return OfflineScorer(bench, labels)

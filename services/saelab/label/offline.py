"""The explainer that needs no language model.

For each feature it composes several phrases out of what distinguishes the tokens it fires on (evidence.py, phrases.py)
and keeps the one that best tells contexts in which the feature is active from others, and active tokens from others
beside them, all in the documents that labels are made from. Nothing of the documents that labels are tested on is seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from services.saelab.label.contexts import Sample
from services.saelab.label.evidence import Evidence, EvidenceReader, Found
from services.saelab.label.explainers import Explainer, ExplainerSettings, explainer, now, unexplained
from services.saelab.label.judge import OfflineJudge
from services.saelab.label.null import auroc
from services.saelab.label.phrases import SETTINGS, Phrase, compose
from services.saelab.label.titles import TitleFinder
from services.saelab.label.workbench import Workbench
from services.saelab.label_table import Label, shortened

SOURCE = "offline"
_BLOCK = 64
"""Features whose phrases are embedded and judged together."""
_LEAST_CONTEXTS = 3
"""With fewer contexts to go by there is no label."""
_STRONGEST = 12
"""Contexts that a title must fit."""
_WEIGHTS = (0.5, 0.2, 0.3)
"""Of telling all active contexts, of telling the more active half, and of telling active tokens."""


class OfflineExplainer:
    """Labels from what distinguishes the tokens that a feature fires on."""

    source = SOURCE

    def __init__(self, bench: Workbench, settings: ExplainerSettings) -> None:
        self._bench = bench
        self._evidence = EvidenceReader(bench.reading, bench.atoms)
        self._titles = TitleFinder.load(bench, settings.titles) if settings.titles else None

    def explain(self, features: Sequence[int]) -> Iterator[Label]:
        """Labels in order of the features."""
        for start in range(0, len(features), _BLOCK):
            yield from self._explain_block(features[start : start + _BLOCK])

    def _explain_block(self, features: Sequence[int]) -> Iterator[Label]:
        bench = self._bench
        evidence = {feature: self._evidence.read(feature) for feature in features}
        samples = {feature: bench.sample(feature, for_labels=True) for feature in features}
        phrases = {
            feature: compose(evidence[feature], self._title(feature, evidence[feature]))
            if len(samples[feature].active) >= _LEAST_CONTEXTS
            else []
            for feature in features
        }
        texts = [phrase.text for feature in features for phrase in phrases[feature]]
        if texts:
            vectors = bench.embed(texts, "phrases embedded")
            judge = OfflineJudge(bench.contexts, bench.atoms, texts, vectors, bench.context_vectors)
        first = 0
        for feature in features:
            numbers = np.arange(first, first + len(phrases[feature]))
            first += len(numbers)
            if not len(numbers):
                yield self._unexplained(feature, evidence[feature])
                continue
            told = self._tells(judge, numbers, feature, samples[feature])
            handicaps = np.array([phrase.handicap for phrase in phrases[feature]])
            best = int((told - handicaps).argmax())
            yield self._label(feature, phrases[feature][best], float(told[best]), evidence[feature])

    def _tells(
        self, judge: OfflineJudge, numbers: NDArray[np.int64], feature: int, sample: Sample
    ) -> NDArray[np.float64]:
        """How well each phrase tells the feature, 0.5 is chance."""
        fits = judge.detect(numbers, sample.all)
        active, silent = fits[:, : len(sample.active)], fits[:, len(sample.active) :]
        half = max(1, len(sample.active) // 2)  # The strongest slices are drawn first.
        tokens, firing = self._tokens(feature, sample)
        hits = judge.hits(numbers, tokens)
        parts = (
            auroc(active, silent) if len(sample.silent) else np.full(len(numbers), 0.5),
            auroc(active[:, :half], silent) if len(sample.silent) else np.full(len(numbers), 0.5),
            auroc(hits[:, firing], hits[:, ~firing]) if firing.any() and not firing.all() else 0.5,
        )
        return np.asarray(sum(weight * part for weight, part in zip(_WEIGHTS, parts, strict=True)))

    def _tokens(self, feature: int, sample: Sample) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The encoded tokens of the active contexts, and which of them the feature fires on."""
        contexts, firings = self._bench.contexts, self._bench.firings
        tokens, firing = [], []
        for context in sample.active.tolist():
            start, end = int(contexts.starts[context]), int(contexts.starts[context + 1])
            used = firings.used[start:end]
            tokens.append(np.arange(start, end)[used])
            firing.append(firings.between(feature, start, end)[used] > 0)
        return np.concatenate(tokens), np.concatenate(firing)

    def _title(self, feature: int, evidence: Evidence) -> str:
        if self._titles is None or any(
            f.atom.text in SETTINGS and "text" in f.atom.text and f.share > 0.2 for f in evidence.detectors
        ):
            return ""  # Titles are English: texts in other languages are near those of their countries.
        contexts = self._bench.contexts
        numbers, largest = contexts.of(self._bench.firings, feature)
        learnt = contexts.for_labels[numbers]
        numbers, largest = numbers[learnt], largest[learnt]
        order = np.argsort(-largest, kind="stable")
        _, first = np.unique(contexts.documents[numbers[order]], return_index=True)
        strongest = numbers[order][np.sort(first)][:_STRONGEST]
        return self._titles.nearest(self._bench.context_vectors[strongest]) if len(strongest) > 3 else ""

    def _label(self, feature: int, phrase: Phrase, told: float, evidence: Evidence) -> Label:
        promoted = [token.token.strip() for token in self._bench.rows[feature].promoted[:6]]
        parts = [
            f"Active on {evidence.firings} tokens of {evidence.documents} documents",
            _listing("mostly", evidence.words),
            _listing("on", evidence.detectors),
            f"around: {', '.join(evidence.keywords[:6])}" if evidence.keywords else "",
            f"promotes: {', '.join(promoted)}" if promoted else "",
        ]
        description = shortened("; ".join(part for part in parts if part) + ".", 400)
        confidence = min(1.0, max(0.0, 2.0 * told - 1.0))
        return Label(feature, phrase.text, description, SOURCE, confidence=confidence, created=now())

    def _unexplained(self, feature: int, evidence: Evidence) -> Label:
        promoted = [token.token.strip() for token in self._bench.rows[feature].promoted[:4]]
        text = f"promotes {', '.join(promoted)}" if promoted else "hardly active in the texts"
        told = f"Active on {evidence.firings} tokens of {evidence.documents} documents: too few to go by."
        return unexplained(feature, text, told)


def _listing(word: str, found: Sequence[Found]) -> str:
    shares = [f"{f.atom.text.strip()!r} {f.share:.0%}" for f in found[:4]]
    return f"{word} {', '.join(shares)}" if shares else ""


@explainer(SOURCE)
def _offline(bench: Workbench, settings: ExplainerSettings) -> Explainer:
    return OfflineExplainer(bench, settings)

"""`hearth sae score`: tests labels on contexts that they were not made from, beside labels of other features.

Detection: which of the contexts is the feature active in? Fuzzing: are the marked tokens the ones it fires on? Both
are asked of a judge (judges.py), and told as AUROC. The rule by which a label beats the null is in null.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from services.saelab.journal import Journal
from services.saelab.label.contexts import Contexts, Sample
from services.saelab.label.firings import Firings
from services.saelab.label.null import NULL_QUANTILE, auroc, beats_null, p_value
from services.saelab.label.workbench import Workbench
from services.saelab.label_table import Label

LEAST_CONTEXTS = 5
"""A feature that is active in fewer held-out contexts is too rare to be tested."""
MARKED_CONTEXTS = 8
"""Active contexts whose tokens are marked, rightly and wrongly, for fuzzing."""
POOL_BELOW = 20
"""With a judge that can afford fewer labels than this for each feature's null, those of all features are one null."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A context with some of its tokens marked."""

    context: int
    tokens: NDArray[np.int64]
    """The marked ones, in order."""
    right: bool
    """Whether the feature fires on them."""


@dataclass(frozen=True, slots=True)
class Test:
    """What a label is asked."""

    feature: int
    sample: Sample
    marked: tuple[Marked, ...]


class Judge(Protocol):
    """Tells how well labels fit contexts."""

    @property
    def source(self) -> str:
        """What the evidence of a score names as its judge."""
        ...

    @property
    def null_labels(self) -> int:
        """Labels of other features that each test is given to: as many as the judge can afford."""
        ...

    def detect(
        self, label: int, null: NDArray[np.int64], test: Test
    ) -> Float[NDArray[np.float32], "labels contexts"]:
        """How well the feature's own label, then each of the null's, fits each context of test.sample.all."""
        ...

    def fuzz(self, label: int, test: Test) -> Float[NDArray[np.float32], " marked"]:
        """How well the feature's own label fits the marked tokens."""
        ...


@dataclass(frozen=True, slots=True)
class Scored:
    """What the test of one label gave."""

    index: int
    score: float
    fuzzing: float | None
    null: list[float]
    """Scores of labels of other features on the same contexts."""
    active: int
    """Contexts in which the feature is active."""
    silent: int
    hard: int
    """Of the silent ones, those in which a neighbour is active."""


def make_test(bench: Workbench, feature: int) -> Test:
    """The test of a feature's label, from held-out documents alone."""
    sample = bench.sample(feature, for_labels=False)
    random = np.random.default_rng([bench.settings.seed, feature, 2])
    marked = _marked(bench.firings, bench.contexts, feature, sample, random)
    return Test(feature, sample, tuple(marked))


def _marked(
    firings: Firings, contexts: Contexts, feature: int, sample: Sample, random: np.random.Generator
) -> Iterator[Marked]:
    """Pairs: the tokens that a feature fires on, and as many others of the same context."""
    spread = sample.active[:: max(1, len(sample.active) // MARKED_CONTEXTS)][:MARKED_CONTEXTS]
    for context in spread.tolist():
        start, end = int(contexts.starts[context]), int(contexts.starts[context + 1])
        used = firings.used[start:end]
        tokens = np.arange(start, end)[used]
        firing = firings.between(feature, start, end)[used] > 0
        count = min(int(firing.sum()), int((~firing).sum()))
        if count:
            yield Marked(context, np.sort(random.choice(tokens[firing], count, replace=False)), True)
            yield Marked(context, np.sort(random.choice(tokens[~firing], count, replace=False)), False)


def null_of(labels: Sequence[Label], count: int, seed: int) -> dict[int, NDArray[np.int64]]:
    """For each label's place the places of labels of other features that it is compared with, drawn at random."""
    there = np.array([place for place, label in enumerate(labels) if label.is_explained], np.int64)
    drawn = {}
    for place in there.tolist():
        random = np.random.default_rng([seed, labels[place].index, 3])
        others = there[there != place]
        drawn[place] = np.sort(random.choice(others, min(count, len(others)), replace=False))
    return drawn


def score_all(bench: Workbench, labels: Sequence[Label], judge: Judge) -> list[Label]:
    """The labels with their scores, those that do not beat the null marked as unlabelled.

    What a killed run had scored is not asked again. Raises RunMismatch where the journal is of another run.
    """
    null = null_of(labels, judge.null_labels, bench.settings.seed)
    run = {
        "judge": judge.source,
        "weights": bench.sae.weights_digest,
        "labels": _digest(labels),
        **bench.settings.run(),
    }
    name = "".join(sign if sign.isalnum() else "-" for sign in judge.source)
    journal = Journal(bench.settings.work / f"scores-{name}-{run['labels'][:12]}.jsonl", run)
    try:
        scored = {row["index"]: row for row in journal.rows}
        for done, (place, label) in enumerate(zip(null, (labels[p] for p in null), strict=True)):
            bench.report("labels tested", done, len(null))
            if label.index not in scored:
                found = _score(bench, judge, place, label, null[place])
                row = _row(label.index, found, pool=judge.null_labels < POOL_BELOW)
                journal.add([row])
                scored[label.index] = row
        bench.report("labels tested", len(null), len(null))
    finally:
        journal.close()
    return _judged(labels, scored, judge)


def _score(
    bench: Workbench, judge: Judge, place: int, label: Label, null: NDArray[np.int64]
) -> Scored | None:
    test = make_test(bench, label.index)
    active = len(test.sample.active)
    if active < LEAST_CONTEXTS or len(test.sample.silent) < LEAST_CONTEXTS:
        return None
    fits = judge.detect(place, null, test)
    scores = auroc(fits[:, :active], fits[:, active:])
    fuzzing = None
    if test.marked:
        right = np.array([marked.right for marked in test.marked])
        told = judge.fuzz(place, test)
        fuzzing = float(auroc(told[None, right], told[None, ~right])[0])
    sample = test.sample
    return Scored(
        label.index,
        float(scores[0]),
        fuzzing,
        [float(score) for score in scores[1:]],
        active,
        len(sample.silent),
        sample.hard,
    )


def _row(index: int, found: Scored | None, *, pool: bool) -> dict[str, Any]:
    """What of a test goes into the journal; of a null of many labels, what is needed of it."""
    if found is None:
        return {"index": index}
    null = np.array(found.null)
    return {
        "index": index,
        "score": found.score,
        "fuzzing": found.fuzzing,
        "p_value": p_value(found.score, null),
        "null": float(np.quantile(null, NULL_QUANTILE)) if len(null) else None,
        "null_scores": found.null if pool else None,
        "contexts": [found.active, found.silent, found.hard],
    }


def _judged(labels: Sequence[Label], scored: dict[int, dict[str, Any]], judge: Judge) -> list[Label]:
    tested = [scored[label.index] for label in labels if "score" in scored.get(label.index, {})]
    pooled = np.array([score for row in tested for score in row["null_scores"] or ()])
    if len(
        pooled
    ):  # A judge that can afford few labels for each: their scores are one null for all features.
        quantile = float(np.quantile(pooled, NULL_QUANTILE))
        tested = [row | {"p_value": p_value(row["score"], pooled), "null": quantile} for row in tested]
    beats = beats_null(
        np.array([row["score"] for row in tested]), np.array([row["p_value"] for row in tested])
    )
    verdicts = {row["index"]: (row, bool(beat)) for row, beat in zip(tested, beats, strict=True)}
    return [_told(label, verdicts.get(label.index), judge.source) for label in labels]


def _told(label: Label, verdict: tuple[dict[str, Any], bool] | None, judge: str) -> Label:
    if not label.is_explained:
        return label
    if verdict is None:
        rare = replace(label, score=None, fuzzing=None, null=None, p_value=None)
        return replace(rare.tested(False), evidence="too rare in the texts to be tested")
    row, beats = verdict
    active, silent, hard = row["contexts"]
    evidence = f"judge {judge}; {active} active and {silent} silent held-out contexts ({hard} of neighbours)"
    scores = {name: row[name] for name in ("score", "fuzzing", "null", "p_value")}
    return replace(label.tested(beats), **scores, evidence=evidence)


def _digest(labels: Sequence[Label]) -> str:
    return hashlib.sha256("\n".join(label.candidate for label in labels).encode()).hexdigest()

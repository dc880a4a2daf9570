"""Labels and verdicts from language models: the explainers and judges `openai` (an endpoint) and `model` (here)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from services.saelab.errors import SaeLabError
from services.saelab.label.asking import Answerer, Endpoint, LocalModel, Question
from services.saelab.label.explainers import Explainer, ExplainerSettings, explainer, now, unexplained
from services.saelab.label.judges import judge
from services.saelab.label.prompts import (
    TOGETHER,
    detection,
    explanation,
    fuzzing,
    label_in,
    marked,
    one_line,
    verdicts_in,
)
from services.saelab.label.score import Judge, Test
from services.saelab.label.workbench import Workbench
from services.saelab.label_table import Label

EXCERPTS = 16
"""Contexts that a label is asked for with, at most."""
_STRONG = 0.3
"""Tokens are marked if they have this share of the largest activation of their context."""


class AskedExplainer:
    """Asks a language model for labels."""

    def __init__(self, bench: Workbench, answerer: Answerer) -> None:
        self._bench, self._answerer = bench, answerer
        self.source = answerer.source

    def explain(self, features: Sequence[int]) -> Iterator[Label]:
        """Labels as the answers come."""
        numbers: list[int] = []
        questions: list[Question] = []
        for feature in features:
            excerpts = self._excerpts(feature)
            if excerpts:
                promoted = [token.token.strip() for token in self._bench.rows[feature].promoted[:8]]
                numbers.append(feature)
                questions.append(explanation(excerpts, promoted))
            else:
                yield unexplained(feature, "hardly active in the texts", "")
        for number, answer in self._answerer.ask(questions):
            label, confidence = label_in(answer)
            feature = numbers[number]
            told = f"From {len(self._excerpts(feature))} excerpts."
            if label:
                yield Label(feature, label, told, self.source, confidence=confidence, created=now())
            else:
                yield unexplained(feature, "the model gave no label", told)

    def _excerpts(self, feature: int) -> list[str]:
        """Contexts of a feature with its tokens marked, the strongest first and then some of every size."""
        bench = self._bench
        contexts, firings = bench.contexts, bench.firings
        active = bench.sample(feature, for_labels=True).active
        chosen = np.concatenate(
            [active[: EXCERPTS // 2], active[EXCERPTS // 2 :][:: max(1, len(active) // 8)]]
        )
        excerpts = []
        for context in chosen[:EXCERPTS]:
            start, end = int(contexts.starts[context]), int(contexts.starts[context + 1])
            activations = firings.between(feature, start, end)
            marks = activations > _STRONG * activations.max()
            excerpts.append(one_line(marked(firings.pieces[start:end], marks.tolist())))
        return excerpts


class AskedJudge:
    """Asks a language model what a label fits. Its answers are yes and no: AUROC is then the balanced accuracy."""

    null_labels = 2
    """Each label of the null costs as many questions as the feature's own; those of all features are one null."""

    def __init__(self, bench: Workbench, labels: Sequence[Label], answerer: Answerer) -> None:
        self._bench, self._answerer = bench, answerer
        self._labels = [label.candidate for label in labels]
        self.source = answerer.source

    def detect(
        self, label: int, null: NDArray[np.int64], test: Test
    ) -> Float[NDArray[np.float32], "labels contexts"]:
        """One row of verdicts for each label; the contexts are asked of in a random order."""
        order = np.random.default_rng(test.feature).permutation(len(test.sample.all))
        excerpts = [one_line(self._bench.contexts.texts[context]) for context in test.sample.all[order]]
        labels = [self._labels[label], *(self._labels[other] for other in null)]
        found = np.empty((len(labels), len(order)), np.float32)
        found[:, order] = self._verdicts(labels, excerpts, detection)
        return found

    def fuzz(self, label: int, test: Test) -> Float[NDArray[np.float32], " marked"]:
        """Verdicts on the marked contexts."""
        contexts, pieces = self._bench.contexts, self._bench.firings.pieces
        order = np.random.default_rng(test.feature).permutation(len(test.marked))
        excerpts = []
        for place in order:
            one = test.marked[place]
            start, end = int(contexts.starts[one.context]), int(contexts.starts[one.context + 1])
            marks = np.isin(np.arange(start, end), one.tokens)
            excerpts.append(one_line(marked(pieces[start:end], marks.tolist())))
        found = np.empty(len(order), np.float32)
        found[order] = self._verdicts([self._labels[label]], excerpts, fuzzing)[0]
        return found

    def _verdicts(
        self,
        labels: Sequence[str],
        excerpts: Sequence[str],
        question: Callable[[str, Sequence[str]], Question],
    ) -> Float[NDArray[np.float32], "labels excerpts"]:
        parts = [excerpts[start : start + TOGETHER] for start in range(0, len(excerpts), TOGETHER)]
        questions = [question(label, part) for label in labels for part in parts]
        answers = dict(self._answerer.ask(questions))
        verdicts = [
            verdict
            for number in range(len(questions))
            for verdict in verdicts_in(answers[number], len(parts[number % len(parts)]))
        ]
        return np.array(verdicts, np.float32).reshape(len(labels), len(excerpts))


def _answerer(settings: ExplainerSettings, bench: Workbench) -> Answerer:
    if settings.name == "model":
        model = settings.model or bench.settings.model
        return LocalModel(model, bench.settings.threads, bench.settings.device)
    if not settings.url or not settings.model:
        raise SaeLabError("an endpoint needs its address and the name of a model: --url and --ask")
    return Endpoint(
        settings.url,
        settings.model,
        settings.key,
        settings.concurrency,
        settings.deadline,
        settings.retries,
    )


@explainer("model")
@explainer("openai")
def _explainer(bench: Workbench, settings: ExplainerSettings) -> Explainer:
    return AskedExplainer(bench, _answerer(settings, bench))


@judge("model")
@judge("openai")
def _judge(bench: Workbench, labels: Sequence[Label], settings: ExplainerSettings) -> Judge:
    return AskedJudge(bench, labels, _answerer(settings, bench))

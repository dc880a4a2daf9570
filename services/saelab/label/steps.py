"""The steps behind `hearth sae label` and `hearth sae score`: from the feature table to labels.parquet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from services.saelab import label_table
from services.saelab.errors import TableError
from services.saelab.label import asked, offline  # noqa: F401 - register their explainers and judges
from services.saelab.label.explainers import ExplainerSettings, explain_all, make_explainer, unexplained
from services.saelab.label.judges import make_judge
from services.saelab.label.null import FALSE_DISCOVERIES
from services.saelab.label.score import score_all
from services.saelab.label.workbench import Workbench
from services.saelab.label_table import LABELS, Label, LabelTableInfo


@dataclass(frozen=True, slots=True)
class Summary:
    """How labels did, over the live features."""

    live: int
    """Features that are ever active."""
    explained: int
    """Of them, those with a label, right or wrong."""
    tested: int
    labelled: int
    """Of them, those whose label beats the null."""
    score: float | None
    """Median detection AUROC of the tested ones."""
    fuzzing: float | None


def label_features(bench: Workbench, settings: ExplainerSettings, count: int | None = None) -> list[Label]:
    """Labels the live features, or `count` of them drawn at random, and writes labels.parquet.

    Features that are not labelled now keep the labels that they had. Raises SaeLabError.
    """
    live = drawn(bench.live(), count, bench.settings.seed)
    made = {label.index: label for label in explain_all(bench, make_explainer(bench, settings), live)}
    before = {label.index: label for label in _stored(bench)}
    labels = []
    for row in bench.rows:
        none = unexplained(row.index, "not labelled yet" if row.is_live else "never active", "")
        labels.append(made.get(row.index) or before.get(row.index) or none)
    _write(bench, labels, {"label": {"explainer": settings.name, "features": count, **bench.settings.run()}})
    return labels


def score_features(bench: Workbench, settings: ExplainerSettings, count: int | None = None) -> list[Label]:
    """Tests the labels of labels.parquet (or of `count` features drawn at random) and writes them with their scores.

    Raises TableError where there are no labels.
    """
    stored = _stored(bench)
    if not stored:
        raise TableError(f"no {LABELS} in {bench.settings.sae}: make it with `hearth sae label`")
    explained = [label.index for label in stored if label.is_explained]
    chosen = set(drawn(explained, count, bench.settings.seed))
    tried = [label for label in stored if label.index in chosen]
    tested = {label.index: label for label in score_all(bench, tried, make_judge(bench, tried, settings))}
    labels = [tested.get(label.index, label) for label in stored]
    told = {"judge": settings.name, "false_discoveries": FALSE_DISCOVERIES, **bench.settings.run()}
    _write(bench, labels, {"score": told})
    return labels


def drawn(features: Sequence[int], count: int | None, seed: int) -> list[int]:
    """So many of the features at random, in order; all where there are no more."""
    if count is None or count >= len(features):
        return list(features)
    return sorted(np.random.default_rng(seed).choice(list(features), count, replace=False).tolist())


def summarise(bench: Workbench, labels: Sequence[Label]) -> Summary:
    """How the labels did."""
    live = set(bench.live())
    inside = [label for label in labels if label.index in live]
    scores = [label.score for label in inside if label.score is not None]
    fuzzing = [label.fuzzing for label in inside if label.fuzzing is not None]
    return Summary(
        len(live),
        sum(label.is_explained for label in inside),
        len(scores),
        sum(label.is_labelled and label.score is not None for label in inside),
        float(np.median(scores)) if scores else None,
        float(np.median(fuzzing)) if fuzzing else None,
    )


def _stored(bench: Workbench) -> list[Label]:
    """The labels that are there; none where there is no table. Raises TableError where it is of another SAE."""
    if not (bench.settings.sae / LABELS).exists():
        return []
    table = label_table.read(bench.settings.sae)
    if table.info.weights_digest != bench.sae.weights_digest:
        raise TableError(f"{table.path} is about another SAE than the weights beside it: delete it")
    return list(table)


def _write(bench: Workbench, labels: list[Label], step: dict[str, Any]) -> None:
    folder = bench.settings.sae
    earlier = label_table.read(folder).info.settings if (folder / LABELS).exists() else {}
    if "label" in step:
        earlier.pop("score", None)  # It was of other labels.
    info = LabelTableInfo(
        bench.sae.id, bench.sae.weights_digest, len(labels), version("hearth"), earlier | step
    )
    label_table.write(folder, info, labels)

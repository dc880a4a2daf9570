"""What tested labels come to over all features, as tables for the report and the model card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from services.saelab.feature_rows import FeatureClass
from services.saelab.label_table import Label


def tested(labels: Sequence[Label], live: int) -> str:
    """How the labels of live features did; empty where none was tested."""
    scored = [label for label in labels if label.score is not None]
    if not scored:
        return ""
    beat = [label for label in scored if label.is_labelled]
    scores = np.array([label.score for label in scored])
    null = np.array([label.null for label in scored if label.null is not None])
    kept = np.array([label.score for label in beat]) if beat else np.zeros(1)
    fuzzing = np.array([label.fuzzing for label in scored if label.fuzzing is not None] or [np.nan])
    return f"""| over the {live:,} live features | |
|---|---|
| label beats the shuffled null on detection | {len(beat):,} ({100 * len(beat) / live:.1f} %) |
| tested | {len(scored):,} |
| median detection, all tested | {np.median(scores):.3f} |
| median detection, labels that beat the null | {np.median(kept):.3f} |
| 95th percentile of other features' labels, median | {np.median(null):.3f} |
| median fuzzing | {np.median(fuzzing):.3f} |"""


def by_class(labels: Sequence[Label], classes: Mapping[int, FeatureClass]) -> str:
    """The same for each class of features, the most frequent first; `classes` are those of the live ones."""
    lines = ["| class | live features | beat the null | median detection |", "|---|---|---|---|"]
    for kind, count in Counter(classes.values()).most_common():
        inside = [label for label in labels if classes.get(label.index) is kind]
        scores = [label.score for label in inside if label.score is not None]
        beat = sum(label.is_labelled and label.score is not None for label in inside)
        median = f"{np.median(scores):.3f}" if scores else "–"
        lines.append(f"| {kind} | {count:,} | {beat:,} ({100 * beat / count:.0f} %) | {median} |")
    return "\n".join(lines)

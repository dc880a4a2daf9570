"""`hearth sae report`: some features chosen at random with label, scores and evidence, so that a reader can judge."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from services.saelab import feature_table, label_table
from services.saelab.errors import TableError
from services.saelab.feature_rows import Example, FeatureRow, TokenWeight
from services.saelab.label.steps import drawn
from services.saelab.label.summary import by_class, tested
from services.saelab.label_table import UNLABELLED, Label
from services.saelab.outputs import write_text

REPORT = "features.md"
_STRONG = 0.3
"""Tokens are marked if they have this share of the largest activation of their example."""
_TOP, _QUANTILE = 4, 2
"""Examples shown of each kind."""
_TOKENS = 8
"""Promoted tokens shown."""


def write_report(folder: Path, features: int = 100, seed: int = 0) -> Path:
    """Writes features.md into an SAE's folder.

    Raises TableError where the tables of features or labels are missing, broken, or of different weights.
    """
    table, labels = feature_table.read(folder), label_table.read(folder)
    if table.info.weights_digest != labels.info.weights_digest:
        raise TableError(
            f"features and labels in {folder} are of different weights: make the older one again"
        )
    by_index = {label.index: label for label in labels}
    classes = {row.index: row.feature_class for row in table.rows(columns=()) if row.is_live}
    chosen = set(drawn(sorted(classes), features, seed))
    rows = [
        row for row in table.rows(columns=("promoted", "steerability", "examples")) if row.index in chosen
    ]
    live = [by_index[index] for index in classes if index in by_index]
    parts = [
        _head(table.info.sae_id, len(rows), seed, len(classes), live),
        by_class(live, classes),
        *(_feature(row, by_index.get(row.index)) for row in rows),
    ]
    path = folder / REPORT
    write_text(path, "\n\n".join(parts) + "\n")
    return path


def _head(sae_id: str, shown: int, seed: int, live: int, labels: Sequence[Label]) -> str:
    sources = ", ".join(
        f"{name} ({count:,})" for name, count in Counter(x.source for x in labels).most_common()
    )
    return f"""# {shown} features of {sae_id}

<!-- Written by `hearth sae report --features {shown} --seed {seed}`. Do not edit. -->

Drawn at random (seed {seed}) from the {live:,} features that are ever active; nothing was left out. Labels are from:
{sources}.

**detection** is the chance that the label alone ranks a held-out context in which the feature is active above one in
which it is not (AUROC; 0.5 is chance; half of the silent contexts have one of the feature's neighbours active);
**null** is what the best twentieth of other features' labels reach on the same contexts, **p** the share of them that
do as well. A label that does not beat the null, at a false discovery rate of 5 % over all features, reads
"{UNLABELLED.strip()} …". **fuzzing** is the same chance for marked tokens: the right ones above others of the same
context. **confidence** is what the explainer thinks itself. A label may beat the null and still be only part of the
truth: the examples are there to judge by. In them, **bold** tokens have at least {100 * _STRONG:.0f} % of the largest
activation shown, ⏎ is a line break; all are from text that the model wrote itself.

{tested(labels, live)}"""


def _feature(row: FeatureRow, label: Label | None) -> str:
    name = escaped(label.label) if label else "not labelled"
    lines = [f"## {row.index}: {name}", ""]
    facts = [str(row.feature_class), f"active on {100 * row.density:.3g} % of tokens"]
    if row.steerability is not None:
        facts.append(f"steerability {row.steerability:.2f}")
    lines.append(" · ".join(facts))
    if label is not None:
        lines += ["", " · ".join(_scores(label))]
        if label.description:
            lines += ["", escaped(label.description)]
    if row.promoted:
        lines += ["", f"Promotes {_tokens(row.promoted)}"]
    examples = [*_kind(row, "top", _TOP), *_kind(row, "quantile", _QUANTILE)]
    lines += ["", *(_example(example) for example in examples)]
    if not examples:
        lines.append("- no example: it is never active in the text that the model wrote itself")
    return "\n".join(lines)


def _scores(label: Label) -> Iterator[str]:
    yield f"source {label.source}"
    if label.score is not None:
        yield f"detection {label.score:.2f}"
    if label.null is not None and label.p_value is not None:
        yield f"null {label.null:.2f}, p {label.p_value:.3f}"
    if label.fuzzing is not None:
        yield f"fuzzing {label.fuzzing:.2f}"
    if label.confidence is not None:
        yield f"confidence {label.confidence:.2f}"
    if label.evidence:
        yield escaped(label.evidence)


def _kind(row: FeatureRow, kind: str, count: int) -> list[Example]:
    return [example for example in row.examples if example.kind == kind][:count]


def _example(example: Example) -> str:
    limit = _STRONG * max(example.activations)
    parts: list[tuple[str, bool]] = []
    for piece, activation in zip(example.tokens, example.activations, strict=True):
        strong = activation > 0 and activation >= limit
        if parts and parts[-1][1] == strong:
            parts[-1] = (parts[-1][0] + piece, strong)
        else:
            parts.append((piece, strong))
    text = "".join(_bold(text) if strong else escaped(text) for text, strong in parts).strip()
    where = f"{example.quantile:.0%} " if example.kind == "quantile" else ""
    return f"- {where}{max(example.activations):.1f}: {text}"


def _bold(text: str) -> str:
    """Markdown wants no space next to the asterisks."""
    inner = text.strip(" ")
    if not inner:
        return f"**␣**{text[1:]}"
    left = text[: len(text) - len(text.lstrip(" "))]
    right = text[len(text.rstrip(" ")) :]
    return f"{left}**{escaped(inner)}**{right}"


def _tokens(tokens: Sequence[TokenWeight]) -> str:
    return ", ".join(escaped(token.token.strip()) for token in tokens[:_TOKENS])


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>#|~$])", r"\\\1", re.sub(r"\s*\n\s*", "⏎", text))

"""evaluation.md: what `hearth sae evaluate` measured, for people. The model card has the same sections."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from services.saelab.evaluation_plots import PLOTS, plot_evaluation
from services.saelab.outputs import write_text
from services.saelab.places import ALONE, LEAST
from services.saelab.probing import KS

METRICS = "metrics.json"
EVALUATION = "evaluation.md"

Metrics = dict[str, Any]
"""What metrics.json holds."""


def write_evaluation(folder: Path, sae_id: str, metrics: Metrics) -> Path:
    """Writes evaluation.md and evaluation.png into the SAE's folder."""
    plot_evaluation(folder / PLOTS, sae_id, metrics)
    path = folder / EVALUATION
    parts = [
        f"# Evaluation: {sae_id}",
        "<!-- Written by `hearth sae evaluate` from metrics.json. Do not edit. -->",
        *sections(metrics),
        f"![Densities, positions, dense features, probes]({PLOTS})",
    ]
    write_text(path, "\n\n".join(parts) + "\n")
    return path


def sections(metrics: Metrics) -> list[str]:
    """What is said of the numbers, section by section; what older files have not is left out."""
    written = [quality(metrics), dictionary(metrics["dictionary"], metrics.get("places"))]
    if metrics.get("probes"):
        written.append(probing(metrics["probes"]))
    return written


_ROWS: list[tuple[str, Callable[[Metrics], str]]] = [
    ("documents", lambda m: f"{m['documents']:,}"),
    ("tokens", lambda m: f"{m['tokens']:,}"),
    ("variance explained", lambda m: f"{m['variance_explained']:.3f}"),
    ("L0", lambda m: f"{m['l0']:.1f}"),
    ("tokens for cross-entropy", lambda m: f"{m['cross_entropy_tokens']:,}"),
    ("cross-entropy of the model", lambda m: f"{m['cross_entropy']:.3f}"),
    ("with the reconstruction spliced in", lambda m: f"{m['cross_entropy_spliced']:.3f}"),
    ("change by it", lambda m: f"{added(m):+.3f}"),
    ("with the mean in its place", lambda m: f"{m['cross_entropy_ablated']:.3f}"),
    ("loss recovered", lambda m: f"{100 * m['loss_recovered']:.1f} %"),
]


def added(text: Metrics) -> float:
    """Nats a token by which the reconstruction makes a kind of text less likely."""
    change: float = text["cross_entropy_spliced"] - text["cross_entropy"]
    return change


def quality(metrics: Metrics) -> str:
    """Reconstruction of held-out text."""
    kinds = [(kind, metrics[kind]) for kind in ("plain", "chat") if kind in metrics]
    table = "\n".join(f"| {name} | " + " | ".join(value(m) for _, m in kinds) + " |" for name, value in _ROWS)
    heads = " | ".join(f"{kind} text" for kind, _ in kinds)
    return f"""## Quality

On whole documents that were never trained on. First positions, attention sinks (norm over four medians) and
the fixed system prompt are left out.

| held out | {heads} |
|---|{"---|" * len(kinds)}
{table}"""


def dictionary(d: Metrics, places: Metrics | None) -> str:
    """Dead, dense, redundant features, and those that know nothing but a place."""
    rows = [
        ("dead features (never active)", f"{100 * d['dead']:.2f} %"),
        ("dense features (active on over 10 % of tokens)", f"{100 * d['dense']:.2f} %"),
        ("median density", f"{100 * d['median_density']:.3f} %"),
        ("median cosine with the nearest other decoder direction", f"{d['decoder_cosine_median']:.2f}"),
        ("features with another within a cosine of 0.7", f"{100 * d['decoder_cosine_above_07']:.1f} %"),
    ]
    if "coactivation_tokens" in d:
        rows += [
            ("median cosine with the most similar pattern of activations", f"{d['coactivation_median']:.2f}"),
            (
                f"features with another pattern within 0.7 ({d['coactivation_tokens']:,} tokens)",
                f"{100 * d['coactivation_above_07']:.1f} %",
            ),
        ]
    text = (
        f"Over {d['reference_tokens']:,} tokens of the training corpus:\n\n| the dictionary | |\n|---|---|\n"
    )
    text += "\n".join(f"| {name} | {value} |" for name, value in rows)
    if places is None:
        return text
    return f"""{text}

Over all {places["tokens"]:,} held-out tokens, of the {places["judged"]:,} features that are active on at least {LEAST}
of them: **{100 * places["template_only"]:.2f} %** know nothing but the chat template (at least {ALONE:.0%} of their
activation is on tokens that it wrote), {100 * places["position_only"]:.2f} % nothing but the beginning of a turn or a
document (as much on its first three tokens)."""


def probing(probes: list[Metrics]) -> str:
    """How well a few features tell labelled passages apart."""
    heads = [*(f"{k} feature{'s' * (k > 1)}" for k in KS), *(f"{k} dim." for k in KS), "whole stream"]
    lines = [
        f"| {p['name']} | {p['positive']} + {p['negative']} | "
        + " | ".join(f"{score:.3f}" for score in (*p["features"], *p["dimensions"], p["stream"]))
        + " |"
        for p in probes
    ]
    means = [
        sum(scores) / len(probes)
        for scores in zip(*[(*p["features"], *p["dimensions"], p["stream"]) for p in probes], strict=True)
    ]
    mean = " | ".join(f"**{score:.3f}**" for score in means)
    table = "\n".join(lines)
    return f"""## Sparse probing

AUROC on documents that nothing was fitted on, by mean activations over passages: with the {KS[0]} and the {KS[1]}
features that tell the other half of the documents apart best, with as many dimensions of the residual stream, and with
all of it.

| passages | number | {" | ".join(heads)} |
|---|---|{"---|" * len(heads)}
{table}
| **mean** | | {mean} |"""

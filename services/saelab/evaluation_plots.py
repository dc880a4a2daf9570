"""evaluation.png: densities, reconstruction by position, the densest features, probes; drawn from metrics.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from services.saelab.outputs import save_figure
from services.saelab.probing import KS

PLOTS = "evaluation.png"


def plot_evaluation(path: Path, title: str, metrics: dict[str, Any]) -> None:
    """Draws the four panels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 8.5), layout="constrained")
    axes = figure.subplots(2, 2)
    _densities(axes[0, 0], metrics["densities"])
    _positions(axes[0, 1], metrics)
    _densest(axes[1, 0], metrics["densest"])
    _probes(axes[1, 1], metrics["probes"])
    figure.suptitle(title, fontsize=11)
    save_figure(path, figure)


def _densities(axis: Any, densities: dict[str, list[float]]) -> None:
    edges = densities["log10_edges"]
    axis.bar(edges[:-1], densities["features"], width=edges[1] - edges[0], align="edge")
    axis.axvline(-1, color="tab:red", linestyle="--", linewidth=1, label="dense: over 10 %")
    axis.set_title("features by density", fontsize=10)
    axis.set_xlabel("log10 of the share of tokens on which a feature is active")
    axis.legend(fontsize=8)


def _positions(axis: Any, metrics: dict[str, Any]) -> None:
    kinds = [kind for kind in ("plain", "chat") if kind in metrics]
    starts = sorted({int(r["from"]) for kind in kinds for r in metrics[kind]["by_position"]})
    other = axis.twinx()
    for number, kind in enumerate(kinds):
        ranges = {int(r["from"]): r for r in metrics[kind]["by_position"]}
        places = [place + 0.4 * number for place, start in enumerate(starts) if start in ranges]
        rows = [ranges[start] for start in starts if start in ranges]
        axis.bar(places, [row["variance_explained"] for row in rows], width=0.38, label=kind, alpha=0.8)
        other.plot(places, [row["l0"] for row in rows], "o", color="black", markersize=4)
    axis.set_xticks([place + 0.2 for place in range(len(starts))], [f"from {start}" for start in starts])
    axis.set_title("variance explained by position in the window; dots: L0", fontsize=10)
    axis.set_ylim(0, 1)
    other.set_ylim(bottom=0)
    axis.legend(fontsize=8, loc="lower right")


def _densest(axis: Any, densest: list[dict[str, Any]]) -> None:
    rows = [row for row in densest if row["quantiles"]]
    for place, row in enumerate(rows):
        low, quarter, half, upper, high = row["quantiles"]
        axis.plot([place, place], [low, high], color="tab:blue", linewidth=1)
        axis.plot([place, place], [quarter, upper], color="tab:blue", linewidth=7, alpha=0.6)
        axis.plot([place], [half], "o", color="black", markersize=4)
    names = [f"{row['index']}\n{100 * row['density']:.0f} %" for row in rows]
    axis.set_xticks(range(len(rows)), names, fontsize=7)
    axis.set_title("activations of the densest features (5, 25, 50, 75, 95 % of those not 0)", fontsize=10)
    axis.set_ylabel("in units of the feature's scale")
    axis.grid(alpha=0.3, axis="y")


def _probes(axis: Any, probes: list[dict[str, Any]]) -> None:
    names = [probe["name"] for probe in probes]
    series = [(f"{k} features", [probe["features"][n] for probe in probes]) for n, k in enumerate(KS)]
    series.append((f"{KS[-1]} dimensions", [probe["dimensions"][-1] for probe in probes]))
    series.append(("whole stream", [probe["stream"] for probe in probes]))
    height = 0.8 / len(series)
    for number, (label, scores) in enumerate(series):
        places = [place - number * height for place in range(len(names), 0, -1)]
        axis.barh(places, scores, height=height, label=label)
    axis.set_yticks([place - 0.3 for place in range(len(names), 0, -1)], names, fontsize=7)
    axis.set_xlim(0.4, 1.0)
    axis.axvline(0.5, color="black", linewidth=1)
    axis.set_title("sparse probing: AUROC", fontsize=10)
    axis.legend(fontsize=7, loc="lower left")

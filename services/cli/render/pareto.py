"""The trials of a search as a picture: what each gains in adherence and loses in fluency."""

from __future__ import annotations

from pathlib import Path

from services.autosteer.spec import Result
from services.cli.render.console import EMBER


class NoPlotting(Exception):
    """matplotlib is not installed."""


def draw_pareto(result: Result, path: Path) -> None:
    """Writes a PNG. Raises NoPlotting, and OSError where the file cannot be written."""
    try:
        import matplotlib
    except ImportError as error:
        raise NoPlotting("the picture needs matplotlib: pip install matplotlib") from error
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    front = sorted(result.pareto, key=lambda trial: trial.fluency)
    axes.plot([t.fluency for t in front], [t.adherence for t in front], color="#bbbbbb", zorder=1)
    points = axes.scatter(
        [t.fluency for t in front],
        [t.adherence for t in front],
        c=[t.relevance for t in front],
        vmin=0,
        vmax=1,
        cmap="viridis",
        zorder=2,
    )
    for trial in front:
        axes.annotate(
            str(trial.number),
            (trial.fluency, trial.adherence),
            textcoords="offset points",
            xytext=(6, 4),
            fontsize=8,
        )
    if (best := result.best) is not None:
        axes.scatter(
            [best.fluency], [best.adherence], s=160, facecolors="none", edgecolors=EMBER, linewidths=2
        )
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="fluency", ylabel="adherence to the behaviour")
    axes.set_title("Trials that no other one surpasses; the ring is the chosen one")
    figure.colorbar(points, label="relevance to the question")
    figure.savefig(path, dpi=150, format="png")

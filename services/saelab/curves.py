"""The curves of a training run as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from services.saelab.outputs import save_figure
from services.saelab.recipe import Metrics

CURVES = "curves.png"


def plot_curves(path: Path, curves: Sequence[Metrics], title: str) -> None:
    """Writes loss, variance explained, L0 and dead share over training steps as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True)
    steps = [point.step for point in curves]
    panels = [
        ("squared error a token (scaled)", [point.loss for point in curves]),
        ("variance explained", [point.variance_explained for point in curves]),
        ("L0 of the batch, and threshold x 10", [point.l0 for point in curves]),
        ("share of dead features", [point.dead for point in curves]),
    ]
    for axis, (name, values) in zip(axes.flat, panels, strict=True):
        axis.plot(steps, values, linewidth=1)
        axis.set_title(name, fontsize=10)
        axis.grid(alpha=0.3)
    axes[1, 0].plot(steps, [10 * point.threshold for point in curves], linewidth=1, linestyle="--")
    axes[0, 0].set_yscale("log")
    aside = [point for point in curves if point.heldout_variance_explained is not None]
    if aside:
        where = [point.step for point in aside]
        style = {"marker": "o", "markersize": 3, "linewidth": 1, "label": "held out, by the threshold"}
        axes[0, 1].plot(where, [point.heldout_variance_explained or 0.0 for point in aside], **style)
        axes[1, 0].plot(where, [point.heldout_l0 or 0.0 for point in aside], **style)
        axes[0, 1].legend(fontsize=8)
    for axis in axes[1]:
        axis.set_xlabel("training step")
    figure.suptitle(title, fontsize=11)
    save_figure(path, figure)

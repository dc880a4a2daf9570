"""The pictures of a report."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.soak.analysis import latencies, rates
from bench.soak.journal import Record

BIN = 5.0
"""Seconds."""
_COLORS = {"kill": "tab:red", "pause": "tab:purple", "flood": "tab:orange", "crash": "tab:brown"}
NAMES = ("throughput.png", "latency.png", "memory.png", "fairness.png")


def draw(records: Sequence[Record], folder: Path) -> None:
    """Writes all of them."""
    for name, plot in zip(NAMES, (_throughput, _latency, _memory, _fairness), strict=True):
        _figure(folder / name, plot, records)


def _figure(path: Path, plot: Any, records: Sequence[Record]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.grid(alpha=0.3)
    plot(axes, records)
    figure.savefig(path, dpi=110)


def _throughput(axes: Any, records: Sequence[Record]) -> None:
    middles, done, failed = rates(records, BIN)
    axes.plot(middles, done, label="steps done")
    axes.plot(middles, failed, label="attempts refused or failed", color="tab:gray", linewidth=0.9)
    axes.set(xlabel="seconds", ylabel="a second", title="Throughput, and what went wrong when")
    _misfortunes(axes, records)
    axes.legend(loc="upper right", fontsize=8)  # nothing goes wrong at the end


def _latency(axes: Any, records: Sequence[Record]) -> None:
    found = latencies(records)
    places = range(len(found))
    for name, color in (("p99", "tab:red"), ("p95", "tab:orange"), ("p50", "tab:blue")):
        axes.barh(places, [getattr(each, name) for each in found], color=color, label=name)
    axes.set_yticks(places, [f"{each.step}, {each.way} ({each.count})" for each in found], fontsize=7)
    axes.set(xscale="log", xlabel="seconds, with all waits and retries", title="Latency of each step")
    axes.legend(fontsize=8)


def _memory(axes: Any, records: Sequence[Record]) -> None:
    lines: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for record in records:
        if record["kind"] == "usage":
            for name, (pid, resident, _) in record["processes"].items():
                lines[name, pid].append((record["t"], resident / 2**20))
    names = sorted({name for name, _ in lines})
    for (name, _), points in lines.items():
        axes.plot(*zip(*points, strict=True), color=f"C{names.index(name)}", linewidth=1.2)
    for place, name in enumerate(names):
        axes.plot([], [], color=f"C{place}", label=name)
    axes.set(
        xlabel="seconds", ylabel="MiB resident", title="Memory of each process, a line for each life", ylim=0
    )
    _misfortunes(axes, records)
    axes.legend(loc="upper right", fontsize=8)  # nothing goes wrong at the end


def _fairness(axes: Any, records: Sequence[Record]) -> None:
    steps: Counter[int] = Counter(r["who"] for r in records if r["kind"] == "done" and r["who"] >= 0)
    axes.bar(range(len(steps)), sorted(steps.values(), reverse=True), width=1.0)
    axes.set(xlabel="researchers, most steps first", ylabel="steps done", title="Who got how much")


def _misfortunes(axes: Any, records: Sequence[Record]) -> None:
    top = axes.get_ylim()[1]
    for record in records:
        if record["kind"] == "misfortune":
            color = _COLORS[record["what"]]
            axes.axvline(record["t"], color=color, linewidth=0.8, alpha=0.7)
            text = f"{record['what']} {record['target']}"
            axes.text(record["t"], top, text, rotation=90, va="top", ha="right", fontsize=6, color=color)

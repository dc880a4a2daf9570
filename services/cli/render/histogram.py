"""How often a feature is how strongly active, as a small bar chart."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from services.cli.render.console import EMBER, number

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_ROWS = 4
_COLUMN = 2
"""Characters of a bar."""


def histogram_chart(counts: Sequence[int], edges: Sequence[float]) -> Text:
    """A bar for each bin, the highest as high as the chart; below them the edges, as many as there is room for.

    `edges` are in activation units, one more than there are counts. Empty where nothing was counted.
    """
    tallest = max(counts, default=0)
    if tallest == 0 or len(edges) != len(counts) + 1:
        return Text()
    chart = Text()
    heights = [max(1, round(8 * _ROWS * count / tallest)) if count else 0 for count in counts]
    for row in reversed(range(_ROWS)):
        bars = (_EIGHTHS[min(8, max(0, height - 8 * row))] * _COLUMN for height in heights)
        scale = f"{tallest:,}" if row == _ROWS - 1 else ""
        chart.append(f"{''.join(bars).rstrip()}", style=EMBER)
        chart.append(f"  {scale}\n" if scale else "\n", style="dim")
    chart.append(_axis(edges), style="dim")
    return chart


def _axis(edges: Sequence[float]) -> str:
    """The edges under their bars, the largest always, others where they do not touch."""
    width = _COLUMN * len(edges) + 6
    line = [" "] * width
    taken = width
    for place in reversed(range(len(edges))):
        text = number(edges[place])
        start = place * _COLUMN
        if start + len(text) < taken:
            line[start : start + len(text)] = text
            taken = start - 1
    return "".join(line).rstrip()

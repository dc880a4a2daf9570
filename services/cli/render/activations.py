"""Tokens coloured by how strongly a feature fires at them; readable without colours too."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.cli.answers import Activation, InspectedToken
from services.cli.render.console import number, printable, visible
from services.cli.render.labels import named

LEVELS = ("black on #ffffb2", "black on #fecc5c", "black on #fd8d3c", "white on #f03b20", "white on #bd0026")
"""From pale yellow to dark red, a fifth of the largest activation each."""
_MARKS = "¹²³⁴⁵"
"""The same five levels where there are no colours."""


@dataclass(frozen=True, slots=True)
class FeatureSummary:
    """One feature over a whole text; values are raw."""

    feature: int
    largest: float
    mean: float
    """Over the tokens at which it fires."""
    tokens: int
    peak: InspectedToken


def summarise(tokens: Sequence[InspectedToken]) -> list[FeatureSummary]:
    """Every feature that fires somewhere, largest activation first."""
    places: dict[int, list[tuple[float, InspectedToken]]] = defaultdict(list)
    for token in tokens:
        for activation in token.activations:
            places[activation.feature].append((activation.value, token))
    found = []
    for feature, fired in places.items():
        largest, peak = max(fired, key=lambda place: place[0])
        found.append(
            FeatureSummary(feature, largest, sum(value for value, _ in fired) / len(fired), len(fired), peak)
        )
    return sorted(found, key=lambda summary: (-summary.largest, summary.feature))


def coloured_tokens(console: Console, tokens: Sequence[InspectedToken], feature: int) -> Text:
    """The text, each token with the colour of its level, or followed by the level's mark where there are no colours."""
    values = [value_of(token, feature) for token in tokens]
    largest = max(values, default=0.0)
    text = Text(overflow="fold")
    for token, value in zip(tokens, values, strict=True):
        text.append_text(coloured(console, token.token.text, value, largest, "dim" if token.sink else ""))
    return text


def coloured(console: Console, piece: str, value: float, largest: float, silent: str = "") -> Text:
    """One token in the same way; `silent` is its style where the feature is silent."""
    level, shown, text = level_of(value, largest), printable(piece), Text()
    if level is None:
        return text.append(shown, style=silent)
    colours = has_colours(console)
    body = shown.strip()
    before, after = shown.split(body, 1) if body else ("", "\n" if "\n" in shown else "")
    text.append(before)
    text.append(body or visible(shown), style=LEVELS[level] if colours else "")
    return text.append(("" if colours else _MARKS[level]) + after)


def legend(console: Console, largest: float) -> Text:
    """What the colours or marks stand for."""
    text = Text()
    text.append("0 ", style="dim")
    for level, style in enumerate(LEVELS):
        bound = number(largest * (level + 1) / len(LEVELS))
        if has_colours(console):
            text.append(f" {bound} ", style=style)
        else:
            text.append(f" {_MARKS[level]} up to {bound} ")
    text.append("  raw activation", style="dim")
    return text


def token_table(tokens: Sequence[InspectedToken], top_k: int, width: int) -> Table:
    """For each token its strongest features, as many as the width allows."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("#", justify="right", style="dim")
    table.add_column("Token", no_wrap=True, max_width=20)
    shown = max(1, min(top_k, (width - 30) // 13))
    table.add_column("Strongest features (feature value)", no_wrap=True)
    largest = max((each.value for token in tokens for each in token.activations), default=0.0)
    for token in tokens:
        table.add_row(
            str(token.position), visible(token.token.text), _strongest(token, shown, largest), style=None
        )
    return table


def feature_table(summaries: Sequence[FeatureSummary], top_k: int, labels: Mapping[int, str]) -> Table:
    """The strongest features over the whole text, with their labels where there are some."""
    table = Table(
        box=SIMPLE_HEAD, title="Strongest features", title_justify="left", title_style="bold", padding=(0, 1)
    )
    table.add_column("Feature", justify="right", style="bold")
    table.add_column("Largest", justify="right")
    table.add_column("Mean", justify="right")
    table.add_column("Tokens", justify="right")
    table.add_column("Largest at")
    if labels:
        table.add_column("Label")
    for each in summaries[:top_k]:
        table.add_row(
            str(each.feature),
            number(each.largest),
            number(each.mean),
            str(each.tokens),
            Text.assemble(visible(each.peak.token.text), (f"  #{each.peak.position}", "dim")),
            *named(each.feature, labels),
        )
    return table


def value_of(token: InspectedToken, feature: int) -> float:
    """The activation of one feature at a token."""
    return next((each.value for each in token.activations if each.feature == feature), 0.0)


def level_of(value: float, largest: float) -> int | None:
    """Which fifth of the largest activation a value lies in, from 0; None where the feature is silent."""
    if value <= 0 or largest <= 0:
        return None
    return min(len(LEVELS) - 1, int(value / largest * len(LEVELS)))


def has_colours(console: Console) -> bool:
    """Whether a console shows colours."""
    return console.color_system is not None and not console.no_color


def _strongest(token: InspectedToken, shown: int, largest: float) -> Text:
    if token.sink:
        return Text("attention sink: not encoded", style="dim")
    if not token.activations:
        return Text("none", style="dim")
    return Text(" ").join(_cell(each, largest) for each in token.activations[:shown])


def _cell(activation: Activation, largest: float) -> Text:
    level = level_of(activation.value, largest)
    value = f"{number(activation.value):<5}"
    return Text.assemble(
        f"{activation.feature:>5} ", (value, "bold" if level is not None and level > 1 else "dim")
    )

"""What `hearth inspect` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from services.cli.answers import InspectedToken
from services.cli.render.activations import (
    coloured_tokens,
    feature_table,
    legend,
    summarise,
    token_table,
    value_of,
)
from services.cli.render.console import EMBER, counted, number, visible
from services.cli.render.labels import named

_PEAKS = 5


def show_features(
    console: Console, tokens: Sequence[InspectedToken], features: Sequence[int], labels: Mapping[int, str]
) -> None:
    """The text once for each feature, coloured, with a legend and the tokens at which it is strongest."""
    for feature in features:
        title = Text(f"Feature {feature}", style=f"bold {EMBER}")
        for label in named(feature, labels):
            title.append("  ").append_text(label)
        console.print(title)
        fired = sorted(
            (token for token in tokens if value_of(token, feature) > 0),
            key=lambda token: -value_of(token, feature),
        )
        if not fired:
            console.print("It does not fire in this text.\n", style="dim")
            continue
        console.print(Padding(coloured_tokens(console, tokens, feature), (0, 2)))
        console.print(Padding(legend(console, value_of(fired[0], feature)), (1, 2, 0, 2)))
        peaks = Text("Strongest at: ", style="dim")
        for place, token in enumerate(fired[:_PEAKS]):
            peaks.append(", " if place else "", style="dim")
            peaks.append(visible(token.token.text), style="default not dim")
            peaks.append(f" #{token.position} {number(value_of(token, feature))}")
        peaks.append(f"; fires at {len(fired)} of {counted(len(tokens), 'token')}.\n")
        console.print(Padding(peaks, (0, 2)))


def show_tokens(
    console: Console, tokens: Sequence[InspectedToken], top_k: int, labels: Mapping[int, str]
) -> None:
    """Every token with its strongest features, then the strongest over the whole text."""
    console.print(token_table(tokens, top_k, console.width))
    summaries = summarise(tokens)
    if not summaries:
        console.print("No feature fires in this text.", style="dim")
        return
    console.print(feature_table(summaries, top_k, labels))
    console.print(
        f"  {len(summaries)} features fire in all. See one in the text with --feature {summaries[0].feature}.",
        style="dim",
    )

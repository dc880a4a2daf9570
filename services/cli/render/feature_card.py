"""Everything that is known of one feature, on one screen."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from services.cli.answers import Revision
from services.cli.render.activations import coloured, legend
from services.cli.render.console import EMBER, number, printable, visible
from services.cli.render.features import class_name, percent
from services.cli.render.histogram import histogram_chart
from services.cli.render.labels import label_text
from services.features.feature import Catalog, Dose, Example, Feature, Neighbor, TokenWeight

_MARGIN = (0, 2)
_SPACES = re.compile(r"[ \t\xa0]+")


@dataclass(frozen=True, slots=True)
class FeatureCard:
    """A feature with what its card needs beside it."""

    feature: Feature
    catalog: Catalog
    labels: Mapping[int, str] = field(default_factory=dict)
    """Of its neighbours, by index."""
    history: Sequence[Revision] = ()
    """Newest first."""


def show_card(console: Console, card: FeatureCard, examples: int) -> None:
    """Prints the card, with at most so many examples."""
    feature = card.feature
    console.print(_title(feature, card.catalog))
    if feature.description:
        console.print(Padding(Text(printable(feature.description), style="dim"), (1, 2, 0, 2)))
    console.print(_statistics(feature, card.catalog))
    _show_histogram(console, feature, card.catalog)
    _show_examples(console, feature, examples)
    if feature.doses:
        _section(console, "What nudges did", _dose_table(feature.doses))
    for title, neighbors in (
        ("Pushes in a similar direction", feature.decoder_neighbors),
        ("Active at the same tokens", feature.coactivation_neighbors),
    ):
        if neighbors:
            _section(console, title, _neighbor_table(neighbors, card.labels))
    if card.history:
        _section(console, "What people called it", _history_table(card.history))
    console.print(Text(f"\nid {feature.id}", style="dim"))


def _title(feature: Feature, catalog: Catalog) -> Text:
    text = Text.assemble(
        (f"Feature {feature.index}", f"bold {EMBER}"), (f"  {feature.sae} at {catalog.hook_point}\n", "dim")
    )
    label = label_text(feature.label)
    label.stylize("bold")
    text.append_text(label)
    text.append(f"\n{_evidence(feature)}", style="dim")
    return text


def _evidence(feature: Feature) -> str:
    """Who made the label, and how it fared in the tests."""
    parts = [f"label by {feature.label_source}" if feature.label_source else "not labelled"]
    if feature.label_score is not None:
        score = f"finds its texts with AUROC {feature.label_score:.2f}"
        if feature.label_null is not None:
            score += f" (95 % of other labels: below {feature.label_null:.2f})"
        parts.append(score)
    if feature.label_fuzzing is not None:
        parts.append(f"its tokens with {feature.label_fuzzing:.2f}")
    elif feature.label_score is None:
        parts.append("not tested")
    return "; ".join(parts)


def _statistics(feature: Feature, catalog: Catalog) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("Class", class_name(feature))
    table.add_row("Density", f"{percent(feature.density)} of tokens")
    table.add_row(
        "Activation", f"usual maximum {number(feature.scale)}, largest {number(feature.max_activation)} (raw)"
    )
    table.add_row("Output score", _score(feature.output_score, " nats for what it promotes"))
    table.add_row(
        "Steerability", _score(feature.steerability, " of its usual maximum, in fluent nudged texts")
    )
    if feature.promoted:
        table.add_row("Promotes", _tokens(feature.promoted, "green"))
    if feature.suppressed:
        table.add_row("Suppresses", _tokens(feature.suppressed, "red"))
    return Padding(table, (1, 2, 0, 2))


def _score(value: float | None, unit: str) -> str:
    return "not measured" if value is None else f"{value:.2f}{unit}"


def _tokens(weights: Iterable[TokenWeight], style: str) -> Text:
    text = Text(overflow="fold")
    for place, each in enumerate(weights):
        text.append("  " if place else "")
        text.append(visible(printable(each.token)))
        text.append(f" {each.weight:+.1f}", style=style)
    return text


def _show_histogram(console: Console, feature: Feature, catalog: Catalog) -> None:
    chart = histogram_chart(feature.histogram, catalog.histogram_edges)
    if chart:
        title = "Activations, counted by size (1 is its usual maximum)"
        _section(console, title, chart)


def _show_examples(console: Console, feature: Feature, count: int) -> None:
    shown = _chosen(feature.examples, count)
    if not shown:
        return
    largest = max(feature.max_activation, *(max(each.activations) for each in shown))
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for each in shown:
        where = "top" if each.kind == "top" else f"{100 * each.quantile:.0f}%"
        table.add_row(
            number(each.activations[each.peak]),
            f"{where} {each.role}".rstrip(),
            _excerpt(console, each, largest),
        )
    rest = len(feature.examples) - len(shown)
    title = "Where it is active" + (f" ({rest} more with --examples {len(feature.examples)})" if rest else "")
    _section(console, title, Group(table, Text(), legend(console, largest)))


def _chosen(examples: Sequence[Example], count: int) -> list[Example]:
    """Of the strongest two thirds, the rest from slices of its activations, so that what is usual is seen too."""
    if count >= len(examples):
        return list(examples)
    slices = [each for each in examples if each.kind == "quantile"]
    others = [each for each in examples if each.kind != "quantile"]
    wanted = min(len(slices), max((count + 1) // 3, count - len(others)))
    step = len(slices) / wanted if wanted else 1
    return [*others[: count - wanted], *(slices[int(place * step)] for place in range(wanted))]


def _excerpt(console: Console, example: Example, largest: float) -> Text:
    text = Text(overflow="fold")
    for place, (piece, value) in enumerate(zip(example.tokens, example.activations, strict=True)):
        line = _SPACES.sub(" ", piece.replace("\n", "⏎"))
        text.append_text(coloured(console, line if place else line.lstrip(" "), value, largest))
    return text


def _dose_table(doses: Iterable[Dose]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    for name in ("Strength", "Gain", "Loss (nats)", "Distinct"):
        table.add_column(name, justify="right")
    for dose in doses:
        table.add_row(f"{dose.strength:g}", f"{dose.gain:+.2f}", f"{dose.loss:.2f}", f"{dose.distinct:.0%}")
    return table


def _neighbor_table(neighbors: Iterable[Neighbor], labels: Mapping[int, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", style="bold")
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    for each in neighbors:
        table.add_row(str(each.index), f"{each.similarity:.2f}", label_text(labels.get(each.index, "")))
    return table


def _history_table(history: Iterable[Revision]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for each in history:
        text = Text.assemble(printable(each.label), (f"  instead of {printable(each.previous_label)}", "dim"))
        if each.note:
            text.append(f"\n{printable(each.note)}", style="italic")
        when = each.created.astimezone().strftime("%Y-%m-%d %H:%M")
        table.add_row(f"{each.revision}  {when}  {printable(each.owner) or 'somebody'}", text)
    return table


def _section(console: Console, title: str, body: RenderableType) -> None:
    console.print(Text(f"\n{title}", style="bold"))
    console.print(Padding(body, _MARGIN))

"""Tables of models, contrasts, logits, attributions and tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from services.cli.answers import (
    Attribution,
    FeatureContrast,
    FeatureEffect,
    Logits,
    ModelInfo,
    Token,
    TokenLogit,
    Tokens,
)
from services.cli.render.console import EMBER, number, small_probability, visible
from services.cli.render.labels import named

_BAR = 16
"""Characters of the longest bar."""


def model_line(model: ModelInfo) -> Text:
    """A model in two lines."""
    chat = "chat template" if model.has_chat_template else "no chat template"
    return Text.assemble(
        (model.id, "bold"),
        (
            f"\n{model.layer_count} blocks of width {model.d_model}, {model.dtype}; context {model.context_length:,}, "
            f"vocabulary {model.vocabulary_size:,}, {chat}",
            "dim",
        ),
    )


def sae_table(model: ModelInfo) -> Table:
    """The SAEs of a model."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("SAE", style=EMBER, overflow="fold")
    table.add_column("Hook point", overflow="fold")
    table.add_column("Features", justify="right")
    table.add_column("Kind")
    table.add_column("Median norm", justify="right")
    table.add_column("Scales")
    for sae in model.saes:
        table.add_row(
            sae.id,
            sae.hook_point,
            f"{sae.feature_count:,}",
            sae.architecture,
            number(sae.median_norm),
            "known" if sae.has_scales else "none",
        )
    return table


def contrast_table(title: str, rows: Sequence[FeatureContrast], labels: Mapping[int, str]) -> Table:
    """Features of one side."""
    table = _table(title)
    table.add_column("Feature", justify="right", style="bold")
    for name in ("Mean +", "Mean −", "AUROC", "Effect", "q"):
        table.add_column(name, justify="right")
    if labels:
        table.add_column("Label")
    for row in rows:
        table.add_row(
            str(row.feature),
            number(row.mean_positive),
            number(row.mean_negative),
            f"{row.auroc:.2f}",
            f"{row.effect_size:+.2f}",
            Text(small_probability(row.q_value), style="green" if row.q_value < 0.05 else "dim"),
            *named(row.feature, labels),
        )
    return table


def logits_table(plain: Logits, steered: Logits | None) -> Table:
    """The likeliest next tokens, with what steering makes of their probabilities."""
    table = _table(f"After token {plain.position}")
    table.add_column("Token", no_wrap=True)
    table.add_column("Id", justify="right", style="dim")
    table.add_column("Logit", justify="right")
    table.add_column("Probability", justify="right")
    if steered is None:
        table.add_column("")
        top = max((_probability(each) for each in plain.top), default=1.0)
        for each in plain.top:
            bar = Text(_bar(_probability(each), top), style=EMBER)
            table.add_row(*_logit_cells(each), bar)
        return table
    table.add_column("Steered", justify="right", style=EMBER)
    table.add_column("Change", justify="right")
    after = {each.token.id: each for each in (*steered.named, *steered.top)}
    for was in (*plain.top, *plain.named):
        now = after[was.token.id]
        difference = now.logprob - was.logprob
        change = Text(f"×{number(math.exp(difference))}", style="green" if difference > 0 else "red")
        table.add_row(*_logit_cells(was), f"{_probability(now):.1%}", change)
    return table


def attribution_table(answer: Attribution, tokens: Sequence[Token], labels: Mapping[int, str]) -> Table:
    """The features by their effect on the logit, and the places where the effect comes from."""
    table = _table("")
    table.add_column("Feature", justify="right", style="bold")
    table.add_column("Effect", justify="right")
    table.add_column("")
    table.add_column("Mostly at")
    if labels:
        table.add_column("Label")
    largest = max((abs(each.effect) for each in answer.features), default=1.0)
    for feature in answer.features:
        up = feature.effect > 0
        style = "green" if up else "red"
        table.add_row(
            str(feature.feature),
            f"{feature.effect:+.2f}",
            Text(_bar(abs(feature.effect), largest, "█" if up else "▒"), style=style),
            _places(feature, tokens),
            *named(feature.feature, labels),
        )
    return table


def token_table(tokens: Tokens, roles: Sequence[str]) -> Table:
    """Tokens with their ids and, in a chat, the message that each belongs to."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("#", justify="right", style="dim")
    table.add_column("Token")
    table.add_column("Id", justify="right")
    if tokens.spans:
        table.add_column("Message")
    for position, token in enumerate(tokens.tokens):
        cells = [str(position), visible(token.text), str(token.id)]
        if tokens.spans:
            cells.append(_message_at(position, tokens, roles))
        table.add_row(*cells)
    return table


def _table(title: str) -> Table:
    return Table(
        box=SIMPLE_HEAD, title=title or None, title_justify="left", title_style="bold", padding=(0, 1)
    )


def _logit_cells(each: TokenLogit) -> tuple[str, str, str, str]:
    return (
        visible(each.token.text),
        str(each.token.id),
        f"{each.logit:.2f}",
        f"{_probability(each):.1%}",
    )


def _probability(each: TokenLogit) -> float:
    return math.exp(each.logprob)


def _bar(value: float, largest: float, block: str = "█") -> str:
    return block * max(1, round(_BAR * value / largest)) if largest > 0 and value > 0 else ""


def _places(feature: FeatureEffect, tokens: Sequence[Token]) -> Text:
    text = Text()
    for place in feature.positions[:3]:
        piece = visible(tokens[place.position].text) if place.position < len(tokens) else "?"
        text.append(f"{'  ' if text else ''}{piece}")
        text.append(f" #{place.position}", style="dim")
    return text


def _message_at(position: int, tokens: Tokens, roles: Sequence[str]) -> str:
    for span in tokens.spans:
        if span.start <= position < span.end:
            role = roles[span.message] if span.message < len(roles) else ""
            inside = span.content_start <= position < span.content_end
            return f"{span.message} {role}" if inside else f"{span.message} {role} (template)"
    return "(template)"

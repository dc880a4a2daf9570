"""Labels of features beside numbers."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from services.cli.render.console import printable
from services.features.feature import UNLABELLED


def label_text(label: str) -> Text:
    """A label; what no test has confirmed is dim."""
    style = "dim" if label.startswith(UNLABELLED) else ""
    return Text(printable(label), style=style, overflow="fold")


def named(feature: int, labels: Mapping[int, str]) -> tuple[Text, ...]:
    """The cell of a feature's label; none where there are no labels at all."""
    return (label_text(labels.get(feature, "")),) if labels else ()

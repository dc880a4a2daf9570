"""Saved steering on the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from services.cli.render.console import EMBER, printable
from services.cli.saved import SavedVariant
from services.cli.syntax import steering_text


def variant_table(variants: Iterable[SavedVariant]) -> Table:
    """The variants of an owner; deleted ones are dim, with the id by which they come back."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("Name", style=EMBER, overflow="fold")
    table.add_column("What it does", overflow="fold")
    table.add_column("Changed", no_wrap=True)
    for each in variants:
        what = Text(printable(steering_text(each.draft.steering)))
        if each.draft.description:
            what.append(f"\n{printable(each.draft.description)}", style="dim")
        if each.deleted:
            what.append(f"\ndeleted; hearth variants restore {each.id}", style="dim")
        when = (each.deleted or each.updated).astimezone().strftime("%Y-%m-%d %H:%M")
        table.add_row(printable(each.draft.name), what, when, style="dim" if each.deleted else "")
    return table

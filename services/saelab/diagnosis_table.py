"""The doctor's findings as a table, for `hearth doctor` and `hearth sae import`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

_SIGNS = {"ok": ("✓ ok", "green"), "warn": ("! look", "yellow"), "fail": ("✗ bad", "bold red")}


class Finding(Protocol):
    """What is shown of services.inference.sae.doctor.Check, which is not imported here: it brings torch."""

    @property
    def name(self) -> str:
        """The check."""

    @property
    def status(self) -> str:
        """`ok`, `warn` or `fail`."""

    @property
    def message(self) -> str:
        """A sentence."""


def diagnosis_table(sae: str, findings: Sequence[Finding], title_style: str = "bold") -> Table:
    """A row for each check, with its sentence."""
    table = Table(box=SIMPLE_HEAD, title=f"SAE {sae}", title_justify="left", title_style=title_style)
    table.add_column("Check", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("Finding", overflow="fold")
    for finding in findings:
        sign, style = _SIGNS[str(finding.status)]
        table.add_row(finding.name.replace("_", " "), Text(sign, style=style), finding.message)
    return table


def verdict(findings: Sequence[Finding], *, refused: bool) -> Text:
    """Whether it may be served, in a sentence."""
    count = {status: sum(str(each.status) == status for each in findings) for status in _SIGNS}
    if refused:
        return Text("  Refused: it does not fit this model.\n", style="bold red")
    if count["fail"]:
        return Text("  Allowed, though it does not fit this model.\n", style="yellow")
    if count["warn"]:
        return Text(f"  Fits, with {count['warn']} to look at.\n", style="yellow")
    return Text("  Fits.\n", style="bold green")

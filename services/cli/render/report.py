"""What the edits delivered against what was asked."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from services.cli.answers import EditReport, Report
from services.cli.render.console import counted, number
from services.cli.syntax import edit_text
from services.steering.edits import Operation


def report_table(report: Report, *, several_saes: bool = False) -> RenderableType:
    """A row for each edit and unit, then one line on all of them together."""
    table = Table(
        box=SIMPLE_HEAD,
        title="What the edits delivered",
        title_justify="left",
        title_style="bold",
        padding=(0, 1, 0, 0),
    )
    table.add_column("Edit", no_wrap=not several_saes)
    table.add_column("Unit")
    table.add_column("Asked", justify="right")
    table.add_column("Delivered", justify="right")
    table.add_column("Share", justify="right")
    table.add_column("Tokens", justify="right")
    table.add_column("Activation", justify="right", no_wrap=True)
    for edit in report.edits:
        _add_edit(table, edit, several_saes)
    return Group(table, Padding(Text("\n".join(summary_lines(report)), style="dim"), (0, 2)))


def summary_lines(report: Report) -> list[str]:
    """What the edits did together, and how often each condition held."""
    clipped = f"{report.clipped_tokens} clipped to max_delta" if report.clipped_tokens else "none clipped"
    lines = [
        f"{counted(report.edited_tokens, 'token')} edited, by {report.mean_relative_delta:.0%} of the norm on average, "
        f"{report.max_relative_delta:.0%} at most; {clipped}."
    ]
    for scope in report.scopes:
        name = "Condition" if len(report.scopes) == 1 else f"Condition {'.'.join(map(str, scope.scope))}"
        lines.append(f"{name}: held at {scope.held} of {counted(scope.tried, 'token')}.")
    return lines


def _add_edit(table: Table, edit: EditReport, several_saes: bool) -> None:
    asked, delivered = edit.requested, edit.delivered
    rows = {
        "strength": (asked.strength, delivered.strength),
        "activation": (asked.activation, delivered.activation),
        "raw": (asked.raw, delivered.raw),
    }
    if edit.edit.operation is Operation.PIN:
        rows = {unit: rows[unit] for unit in ("activation", "raw")}
    if edit.edit.operation is Operation.SCALE:
        rows = {"factor": rows["activation"]}
    name = edit_text(edit.edit, with_sae=several_saes)
    before_after = f"{number(edit.activation_before)} → {number(edit.activation_after)}"
    for place, (unit, (wanted, got)) in enumerate(rows.items()):
        first = place == 0
        table.add_row(
            name if first else "",
            unit,
            number(wanted),
            number(got) if edit.tokens else "–",
            _share(wanted, got) if first and edit.tokens else "",
            str(edit.tokens) if first else "",
            before_after if first and edit.tokens else "",
            end_section=place == len(rows) - 1,
        )


def _share(wanted: float, got: float) -> Text:
    if wanted == 0:
        return Text("")
    share = got / wanted
    style = "green" if 0.8 <= share <= 1.2 else "yellow" if share > 0.2 else "red"
    return Text(f"{share:.0%}", style=style)

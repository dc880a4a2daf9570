"""What auto-steer found, on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.box import ROUNDED, SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from services.autosteer.spec import Arm, Interval, Result, Validation
from services.cli.render.console import EMBER, printable
from services.cli.steered import SteerJob
from services.steering.edits import Edit

SHOWN = 4
"""Held-out prompts that are shown side by side."""
_VERDICTS = {
    "use": ("Use it", "bold green"),
    "prompt_instead": ("Prompt it instead", "bold yellow"),
    "no_safe_steer": ("No safe steer", "bold red"),
}
_STATES = {"succeeded": "green", "failed": "red", "cancelled": "yellow"}


def job_view(job: SteerJob) -> RenderableType:
    """A job that has ended, whole."""
    parts: list[RenderableType] = [Text.assemble(("job ", "dim"), (job.id, "dim"), f"  {job.state}")]
    if job.error:
        parts.append(Text(printable(job.error), style="red"))
    if job.result is not None:
        parts += _result(job.result)
    elif job.best is not None:
        parts += [Text("The best trial so far:", style="bold"), edit_table(job.best.edits, {})]
    return Group(*parts)


def job_table(jobs: Iterable[SteerJob]) -> Table:
    """Jobs, one a line."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("Job", no_wrap=True, style="dim")
    table.add_column("What", overflow="fold", style=EMBER)
    for name in ("Budget", "State", "Best", "Verdict", "Made"):
        table.add_column(name, no_wrap=True)
    for each in jobs:
        verdict, style = _VERDICTS.get(each.decision, ("", ""))
        state = Text(each.state, style=_STATES.get(each.state, ""))
        if each.state == "running" and each.stage != "unspecified":
            state.append(f", {each.stage}", style="dim")
        table.add_row(
            each.id,
            printable(each.behavior) or "(examples)",
            each.tier,
            state,
            f"{each.best.score:.2f}" if each.best else "",
            Text(verdict, style=style),
            each.created.astimezone().strftime("%Y-%m-%d %H:%M"),
        )
    return table


def edit_table(edits: Sequence[Edit], labels: dict[str, str]) -> Table:
    """Edits with the labels of their features and their weights."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("Feature", justify="right", style=EMBER, no_wrap=True)
    table.add_column("Label", overflow="fold")
    table.add_column("Weight", justify="right", no_wrap=True)
    for edit in edits:
        label = labels.get(f"{edit.feature.sae}/{edit.feature.index}", "")
        table.add_row(str(edit.feature.index), printable(label), f"{edit.operation.value} {edit.value:+.3f}")
    return table


def _result(result: Result) -> list[RenderableType]:
    parts: list[RenderableType] = []
    if result.best is not None:
        parts.append(edit_table(result.best.edits, result.labels))
    if result.validation is not None:
        parts += [_side_by_side(result.validation), _scores(result.validation)]
        parts += [_leads(result.validation)] if result.validation.differences else []
    name, style = _VERDICTS[result.verdict.decision.value]
    parts.append(Text.assemble((f"{name}. ", style), printable(result.verdict.reason)))
    judged = f"Judged by {result.judge.name}"
    if result.judge.agreement is not None:
        judged += f", which agrees with people on {result.judge.agreement:.0%} of {result.judge.pairs} pairs"
    parts.append(Text(f"{judged}; {result.seconds:.0f} s of work.", style="dim"))
    parts += [Text(f"Cut short: {what}", style="dim") for what in result.cut_short]
    return parts


def _side_by_side(validation: Validation) -> Table:
    """Plain and steered answers to prompts that nothing was tuned on; prompted ones where no edits were found."""
    plain, steered = _arm(validation, "unsteered"), best_arm(validation)
    changed = "Steered" if steered else "With the system prompt"
    shown = (plain, steered or _arm(validation, "system prompt"))
    table = Table(box=ROUNDED, expand=True, border_style="dim", title="Prompts that nothing was tuned on")
    for title, style in (("Prompt", "dim"), ("Unsteered", ""), (changed, EMBER)):
        table.add_column(title, ratio=1 if title == "Prompt" else 2, style=style, overflow="fold")
    for number, prompt in enumerate(validation.prompts[:SHOWN]):
        table.add_row(printable(prompt), *(_text(arm, number) for arm in shown), end_section=True)
    return table


def _scores(validation: Validation) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("Way", overflow="fold")
    for name in ("Score (95 %)", "Adherence", "Relevance", "Fluency", "Prompts"):
        table.add_column(name, no_wrap=True)
    for arm in validation.arms:
        means = [f"{value.mean:.2f}" for value in (arm.adherence, arm.relevance, arm.fluency)]
        style = "bold" if arm is best_arm(validation) else ""
        table.add_row(arm.name, _interval(arm.score), *means, str(len(arm.samples)), style=style)
    return table


def _leads(validation: Validation) -> Table:
    """By how much the best edits lead everything else."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column(f"{validation.differences[0].arm} over", overflow="fold")
    table.add_column("Lead (95 %)", no_wrap=True)
    for each in validation.differences:
        table.add_row(each.over, _interval(each.score, sign="+"))
    return table


def best_arm(validation: Validation) -> Arm | None:
    """The steered arm that the validation chose: the one whose leads it states."""
    return _arm(validation, validation.differences[0].arm) if validation.differences else None


def _arm(validation: Validation, name: str) -> Arm | None:
    return next((arm for arm in validation.arms if arm.name == name), None)


def _text(arm: Arm | None, number: int) -> Text:
    return Text(printable(arm.samples[number].text).strip() if arm and number < len(arm.samples) else "")


def _interval(value: Interval, sign: str = "") -> str:
    return f"{value.mean:{sign}.2f} [{value.low:{sign}.2f}, {value.high:{sign}.2f}]"

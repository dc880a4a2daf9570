"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from bench.measures import Spread, paired_ratio, spread
from bench.races import Outcome, Race


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column is text, the others are numbers."""
    lines = ["| " + " | ".join(header) + " |", "|---" + "|---:" * (len(header) - 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def number(value: float) -> str:
    """Three significant digits, without an exponent for everyday sizes."""
    if value == 0:
        return "0"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def with_range(value: Spread) -> str:
    if value.rounds == 1:
        return number(value.median)
    return f"{number(value.median)} ({number(value.low)}–{number(value.high)})"


def render_race(race: Race, outcome: Outcome) -> str:
    """One table for each case of a race: medians with extremes, and how many times better the subject is."""
    parts = [f"## {race.title} (`{race.name}`)", race.explains]
    for case, measured in outcome.results.items():
        metrics = list(next(iter(measured.values()))[0]) if measured else []
        header = [f"{case}, {race.unit}", *metrics, f"{race.subject} is better by", "goal"]
        rows = [
            [
                label,
                *(with_range(spread([r[metric] for r in rounds])) for metric in metrics),
                *_against(race, case, label, measured),
            ]
            for label, rounds in measured.items()
        ]
        parts.append(table(header, rows))
    parts += [f"Not measured: {label}: {failure}" for label, failure in outcome.failures.items()]
    return "\n\n".join(parts)


def _against(race: Race, case: str, label: str, measured: dict[str, list[dict[str, float]]]) -> list[str]:
    if label == race.subject or race.subject not in measured:
        return ["", ""]
    ours = [r[race.metric] for r in measured[race.subject]]
    theirs = [r[race.metric] for r in measured[label]]
    ratio = paired_ratio(ours, theirs, race.higher_is_better)
    goal = race.goals.get((case, label))
    verdict = "" if goal is None else f"{number(goal)}: {'met' if ratio.median >= goal else 'missed'}"
    return [with_range(ratio) + " times", verdict]

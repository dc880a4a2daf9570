"""Rows that are measured in rounds, their goals, and the tables they become."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.measures import paired_ratio, spread
from bench.races import orders
from bench.report import number, table, with_range

Measure = Callable[[], Awaitable[Mapping[str, float]]]
"""One round's numbers, by the name of their column."""
Rounds = Mapping[str, Sequence[Mapping[str, float]]]
"""The numbers of each round, by the label of the row."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What the project promises of a row: a number below a limit, or at least that; the rounds' median counts."""

    column: str
    limit: float
    at_least: bool = False

    def verdict(self, value: float) -> str:
        """The goal and whether it is met."""
        met = value >= self.limit if self.at_least else value < self.limit
        sign = "≥" if self.at_least else "<"
        return f"{self.column} {sign} {self.limit:,g}: {'met' if met else 'missed'}"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table."""

    label: str
    measure: Measure
    goals: tuple[Goal, ...] = ()
    beside: str = ""
    """Of a peer: the label of Hearth's row that does the same, with which the first column is compared."""


@dataclass(frozen=True, slots=True)
class Section:
    """One table."""

    title: str
    explains: str
    heading: str
    """Of the first column."""
    rows: tuple[Row, ...]


async def measured(
    sections: Sequence[Section], rounds: int, tell: Callable[[str], None]
) -> dict[str, list[Mapping[str, float]]]:
    """The numbers of all rows; a round measures every row once, and rounds alternate the order."""
    rows = [row for section in sections for row in section.rows]
    results: dict[str, list[Mapping[str, float]]] = {row.label: [] for row in rows}
    if len(results) != len(rows):
        raise ValueError("two rows have the same label")
    for moment, order in orders(rows, rounds):
        for row in order:
            numbers = await row.measure()
            results[row.label].append(numbers)
            values = ", ".join(f"{name} {number(value)}" for name, value in numbers.items())
            tell(f"round {moment + 1}: {row.label}: {values}")
    return results


def render(section: Section, results: Rounds) -> str:
    """One table: medians of the rounds with their extremes, ratios to Hearth, goals."""
    columns = list(results[section.rows[0].label][0])
    compared = any(row.beside for row in section.rows)
    promised = any(row.goals for row in section.rows)
    rows = []
    for row in section.rows:
        spreads = {name: spread([numbers[name] for numbers in results[row.label]]) for name in columns}
        cells = [row.label, *map(with_range, spreads.values())]
        if compared:
            cells.append(_ratio(row, columns[0], results))
        if promised:
            cells.append("; ".join(goal.verdict(spreads[goal.column].median) for goal in row.goals))
        rows.append(cells)
    header = [section.heading, *columns]
    header += [*(["Hearth is faster by"] if compared else []), *(["goal"] if promised else [])]
    return "\n\n".join([f"## {section.title}", section.explains, table(header, rows)])


def _ratio(row: Row, column: str, results: Rounds) -> str:
    if not row.beside:
        return ""
    ours, theirs = ([numbers[column] for numbers in results[label]] for label in (row.beside, row.label))
    return with_range(paired_ratio(ours, theirs, higher_is_better=False)) + " times"

"""A filter taken apart, so that each engine has only three kinds of condition to put into its own words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.features.store.base import FoundPoint, PointFilter


@dataclass(frozen=True, slots=True)
class OneOf:
    """The field holds one of these values, which are all of one type; none of them if there are none."""

    field: str
    values: Sequence[str | int | bool]

    @property
    def flags(self) -> bool:
        """Whether the values are booleans, for which Qdrant knows no list."""
        return any(isinstance(value, bool) for value in self.values)

    def holds(self, point: FoundPoint) -> bool:
        """Whether a point fulfils it of which the field was read."""
        return point.payload.get(self.field) in self.values


@dataclass(frozen=True, slots=True)
class Between:
    """The field holds a number in this range, ends included; None leaves an end open."""

    field: str
    least: float | None
    most: float | None

    def holds(self, point: FoundPoint) -> bool:
        """Whether a point fulfils it of which the field was read."""
        value = point.payload.get(self.field)
        if value is None:
            return False
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


@dataclass(frozen=True, slots=True)
class Ids:
    """One of these points."""

    ids: Sequence[str]

    def holds(self, point: FoundPoint) -> bool:
        """Whether a point is one of them."""
        return point.id in self.ids


Clause = OneOf | Between | Ids


def required(where: PointFilter) -> list[Clause]:
    """What a point must fulfil."""
    bounded = where.at_least.keys() | where.at_most.keys()
    found: list[Clause] = [OneOf(field, values) for field, values in where.any_of.items()]
    found += [
        Between(field, where.at_least.get(field), where.at_most.get(field)) for field in sorted(bounded)
    ]
    if where.ids is not None:
        found.append(Ids(where.ids))
    return found


def excluded(where: PointFilter) -> list[Clause]:
    """What a point must not fulfil."""
    found: list[Clause] = [OneOf(field, values) for field, values in where.none_of.items() if values]
    if where.not_ids:
        found.append(Ids(where.not_ids))
    return found


def fields_of(where: PointFilter) -> set[str]:
    """The payload fields that tell whether a point fulfils a filter."""
    return {*where.any_of, *where.none_of, *where.at_least, *where.at_most}


def fulfils(point: FoundPoint, where: PointFilter) -> bool:
    """Whether a point fulfils a filter; its `fields_of` were read."""
    return all(clause.holds(point) for clause in required(where)) and not any(
        clause.holds(point) for clause in excluded(where)
    )

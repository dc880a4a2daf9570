"""What numbers of any request may be, and how many there may be. All errors are InvalidField with the path."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from services.errors import InvalidField


def number(value: float, field: str, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number within limits."""
    if not math.isfinite(value) or not low <= value <= high:
        raise InvalidField(field, f"is {value:g}; allowed: {_span(low, high)}")
    return value


def count(values: Collection[object], low: int, high: int, field: str, what: str) -> None:
    """So many things."""
    if not low <= len(values) <= high:
        raise InvalidField(field, f"holds {len(values):,} {what}; allowed: {low:,} to {high:,}")


def size(value: int, default: int, most: int, field: str) -> int:
    """A number that has a limit; 0 stands for the default."""
    if value > most:
        raise InvalidField(field, f"is {value}; allowed: at most {most:,}")
    return value or default


def finite(values: Sequence[float], field: str) -> None:
    """Finite numbers."""
    if all(map(math.isfinite, values)):
        return
    for place, value in enumerate(values):
        if not math.isfinite(value):
            raise InvalidField(f"{field}[{place}]", f"is {value:g}; allowed: finite numbers")


def _span(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return "finite numbers"
    return f"at least {low:g}" if math.isinf(high) else f"{low:g} to {high:g}"

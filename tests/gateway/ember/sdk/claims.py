"""What is claimed of the SDK's calls: functions that raise where a claim does not hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

claims: list[Callable[[], Any]] = []
slow: set[str] = set()
"""Names of those for which the model writes for long."""


def claim(check: Callable[[], Any]) -> Callable[[], Any]:
    """Makes a function one of those that are run."""
    claims.append(check)
    return check


def slow_claim(check: Callable[[], Any]) -> Callable[[], Any]:
    """The same, for one in which the model writes for long."""
    slow.add(check.__name__)
    return claim(check)

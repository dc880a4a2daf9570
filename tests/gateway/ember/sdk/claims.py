"""What is claimed of the SDK's calls: functions that raise where a claim does not hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

claims: list[Callable[[], Any]] = []


def claim(check: Callable[[], Any]) -> Callable[[], Any]:
    """Makes a function one of those that are run."""
    claims.append(check)
    return check

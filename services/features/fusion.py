"""Reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009): one order out of several."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

K = 60
"""The constant of the paper: the larger it is, the less the first few places of one ranking count."""

_Item = TypeVar("_Item", bound=Hashable)


def fused(rankings: Iterable[Sequence[_Item]]) -> list[tuple[_Item, float]]:
    """(item, sum over the rankings of 1 / (K + rank)), the largest first, ranks counted from 1.

    Items of equal sums stand in order of first appearance, so an order never depends on chance.
    """
    sums: dict[_Item, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking, start=1):
            sums[item] = sums.get(item, 0.0) + 1 / (K + rank)
    return sorted(sums.items(), key=lambda pair: -pair[1])

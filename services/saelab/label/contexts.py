"""Contexts: the texts cut into stretches of equal length that all features share, and drawn as tests of one feature."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from services.saelab.label.firings import Firings

LENGTH = 24
"""Tokens of a context; what is left at the end of a window joins the last one if it is shorter than half."""
QUANTILES = 4
"""Contexts in which a feature is active are drawn in equal shares from so many slices of its activations."""
_PER_DOCUMENT = 6
"""At most so many contexts of one document are drawn: they are not independent."""


@dataclass(frozen=True, slots=True)
class Contexts:
    """All contexts of some texts."""

    number: NDArray[np.int32]
    """[tokens], the context of each token."""
    starts: NDArray[np.int64]
    """[contexts + 1], first token of each."""
    texts: list[str]
    documents: NDArray[np.int32]
    """[contexts]"""
    for_labels: NDArray[np.bool_]
    """[contexts], whether labels are made from it; else they are tested on it."""
    encoded: NDArray[np.bool_]
    """[contexts], whether at least half of its tokens were encoded: else nobody knows what is active in it."""

    def __len__(self) -> int:
        """Number of contexts."""
        return len(self.texts)

    def of(self, firings: Firings, feature: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The contexts in which a feature is active, in order, and its largest activation in each."""
        tokens, values = firings.of(feature)
        number = self.number[tokens]
        first = np.flatnonzero(np.diff(number, prepend=-1))
        largest = np.maximum.reduceat(values, first) if len(first) else values
        return number[first], largest


def cut(firings: Firings) -> Contexts:
    """Cuts every window into contexts."""
    starts: list[int] = []
    for start, end in firings.window_bounds():
        count = max(1, (end - start + LENGTH // 2) // LENGTH)
        starts += [start + LENGTH * part for part in range(count)]
    edges = np.array([*starts, len(firings.pieces)])
    sizes = np.diff(edges)
    used = np.add.reduceat(firings.used.astype(np.int64), edges[:-1])
    return Contexts(
        np.repeat(np.arange(len(starts), dtype=np.int32), sizes),
        edges,
        ["".join(firings.pieces[a:b]).strip() for a, b in pairwise(edges)],
        firings.documents[edges[:-1]],
        firings.for_labels[edges[:-1]],
        2 * used >= sizes,
    )


@dataclass(frozen=True, slots=True)
class Sample:
    """Contexts by which one feature's label is told right or wrong."""

    active: NDArray[np.int32]
    """Contexts in which the feature is active, in no order."""
    silent: NDArray[np.int32]
    """Contexts in which it is not, at any token."""
    hard: int
    """So many of the silent ones, the last, have a neighbour of the feature active."""

    @property
    def all(self) -> NDArray[np.int32]:
        """The active ones, then the silent ones."""
        return np.concatenate([self.active, self.silent])


@dataclass(frozen=True, slots=True)
class SampleSizes:
    """How many contexts are drawn, at most."""

    active: int = 120
    silent: int = 240
    hard_share: float = 0.5
    """Of the silent ones, this share are contexts in which the feature's neighbours are active."""


def draw(
    firings: Firings,
    contexts: Contexts,
    feature: int,
    neighbors: Iterable[int],
    sizes: SampleSizes,
    seed: int,
    *,
    for_labels: bool,
) -> Sample:
    """Contexts of a feature from the documents that labels are made from, or from those that they are tested on."""
    random = np.random.default_rng([seed, feature, int(for_labels)])
    usable = contexts.encoded & (contexts.for_labels == for_labels)
    number, largest = contexts.of(firings, feature)
    active = usable[number]
    drawn = _stratified(number[active], largest[active], contexts, sizes.active, random)
    silent = usable.copy()
    silent[number] = False
    near = np.zeros(len(contexts), np.bool_)
    for neighbor in neighbors:
        near[contexts.of(firings, neighbor)[0]] = True
    hard = _spread(np.flatnonzero(silent & near), contexts, int(sizes.silent * sizes.hard_share), random)
    silent[hard] = False
    easy = _spread(np.flatnonzero(silent), contexts, sizes.silent - len(hard), random)
    return Sample(drawn, np.concatenate([easy, hard]).astype(np.int32), len(hard))


def _stratified(
    number: NDArray[np.int32],
    largest: NDArray[np.float32],
    contexts: Contexts,
    count: int,
    random: np.random.Generator,
) -> NDArray[np.int32]:
    slices = np.array_split(number[np.argsort(largest, kind="stable")], QUANTILES)
    drawn: list[NDArray[np.int32]] = []
    for done, part in enumerate(reversed(slices)):  # What the strong ones lack is drawn from the weaker.
        wanted = (count * (done + 1)) // QUANTILES - sum(map(len, drawn))
        drawn.append(_spread(part, contexts, wanted, random))
    return np.concatenate(drawn)


def _spread(
    numbers: NDArray[np.integer], contexts: Contexts, count: int, random: np.random.Generator
) -> NDArray[np.int32]:
    """Some of the contexts at random, few of any document."""
    shuffled = random.permutation(numbers)
    documents = contexts.documents[shuffled]
    order = np.argsort(documents, kind="stable")
    first = np.flatnonzero(np.diff(documents[order], prepend=-1))
    rank = np.empty(len(shuffled), np.int64)
    rank[order] = np.arange(len(shuffled)) - np.repeat(first, np.diff([*first, len(shuffled)]))
    return shuffled[rank < _PER_DOCUMENT][:count].astype(np.int32)

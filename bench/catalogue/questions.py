"""What the catalogue is asked: in words of real labels that no feature has."""

from __future__ import annotations

import random
from collections.abc import Sequence

_WORDS = 3
"""Of each of two labels, at most: queries of two to six words."""


class Questions:
    """Queries; `fresh` ones were never asked before."""

    def __init__(self, labels: Sequence[str], seen: int) -> None:
        """`seen` is how many queries are asked again and again."""
        self.labels = tuple(labels)
        """Whole labels."""
        self._draw = random.Random(0)
        self._used = set(labels)
        self.seen = self.fresh(seen)
        """To be asked once before anything is measured."""

    def fresh(self, count: int) -> list[str]:
        """The first words, one to three, of one label and of another. Raises ValueError where all are used up."""
        found: list[str] = []
        for _ in range(100 * count):
            if len(found) == count:
                break
            text = " ".join(self._beginning() for _ in range(2))
            if text not in self._used:
                self._used.add(text)
                found.append(text)
        if len(found) < count:
            raise ValueError(f"{len(self.labels)} labels do not make enough questions")
        return found

    def _beginning(self) -> str:
        return " ".join(self._draw.choice(self.labels).split()[: self._draw.randint(1, _WORDS)])

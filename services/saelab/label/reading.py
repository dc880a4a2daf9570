"""The texts as words: which word each token belongs to, and how words, lines and sentences lie."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.saelab.label.firings import Firings

UNIT = re.compile(r"<\|\w+\|>|\n[\n ]*\n|\n|[^\W\d_]+(?:['’][^\W\d_]+)*|\d|[^\S\n]{2,}|[^\w\s]|_", re.UNICODE)
"""A control token, an empty line, a line break, a word, a digit, a run of spaces, or a sign; single spaces lie between
units."""
SPACE = " "
"""The unit of a token that is a single space."""

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Reading:
    """Units (words and signs) in reading order, and the tokens that they are made of.

    Token arrays are called by what they say of tokens, unit arrays begin with `unit_`.
    """

    firings: Firings
    unit: NDArray[np.int32]
    """[tokens], the unit that a token belongs to: that of its first character that is no space."""
    begins: Bools
    """[tokens], whether the token is the first of its unit."""
    ends: Bools
    """[tokens], whether it is the last of it."""
    unit_form: NDArray[np.int32]
    """[units], an index into `forms`."""
    unit_window: NDArray[np.int32]
    """[units]"""
    forms: list[str]
    """Every unit that occurs, as it is written."""
    words: list[str]
    """The same in lower case, each once."""
    form_word: NDArray[np.int32]
    """[forms], an index into `words`."""

    @property
    def unit_word(self) -> NDArray[np.int32]:
        """[units], an index into `words`."""
        return self.form_word[self.unit_form]

    def units_where(self, test: Callable[[str], object]) -> Bools:
        """[units], whether the unit as it is written passes a test."""
        passes = np.fromiter((bool(test(form)) for form in self.forms), np.bool_, len(self.forms))
        return passes[self.unit_form]

    def tokens_where(self, test: Callable[[str], object]) -> Bools:
        """[tokens], whether the unit of the token, as it is written, passes a test."""
        return self.units_where(test)[self.unit]

    def after(self, units: Bools) -> Bools:
        """[units], whether the unit before, in the same window, is one of those."""
        following = np.zeros_like(units)
        following[1:] = units[:-1] & (self.unit_window[1:] == self.unit_window[:-1])
        return following

    def before(self, units: Bools) -> Bools:
        """[units], whether the unit after, in the same window, is one of those."""
        preceding = np.zeros_like(units)
        preceding[:-1] = units[1:] & (self.unit_window[1:] == self.unit_window[:-1])
        return preceding

    def around(self, counted: Bools, reach: int) -> NDArray[np.int64]:
        """[units], how many of the counted units lie within `reach` units to either side, in the same window."""
        total = np.concatenate([[0], counted.cumsum()])
        edges = np.flatnonzero(np.diff(self.unit_window)) + 1
        first, last = np.concatenate([[0], edges]), np.concatenate([edges, [len(counted)]])
        sizes = last - first
        lower, upper = np.repeat(first, sizes), np.repeat(last, sizes)
        places = np.arange(len(counted))
        low, high = np.maximum(places - reach, lower), np.minimum(places + reach + 1, upper)
        return np.asarray(total[high] - total[low], np.int64)


def read_units(firings: Firings) -> Reading:
    """Finds the units of every window."""
    units = np.zeros(len(firings.windows), np.int32)
    forms: dict[str, int] = {}
    unit_form: list[int] = []
    unit_window: list[int] = []
    for start, end in firings.window_bounds():
        pieces = firings.pieces[start:end]
        text = "".join(pieces)
        found: list[re.Match[str] | None] = [*UNIT.finditer(text)] or [None]
        starts = np.array([match.start() if match else 0 for match in found])
        ends = np.array([match.end() if match else 0 for match in found])
        lengths = np.array([len(piece) for piece in pieces])
        place = lengths.cumsum() - lengths
        blank = np.array([len(piece) - len(piece.lstrip(" ")) for piece in pieces])
        inner = place + np.minimum(blank, np.maximum(lengths - 1, 0))
        # A token that holds spaces alone belongs to the run of spaces that it lies in, else to what follows.
        number = np.minimum(np.searchsorted(ends, inner, side="right"), len(starts) - 1)
        units[start:end] = number + len(unit_form)
        unit_form += [forms.setdefault(match[0] if match else SPACE, len(forms)) for match in found]
        unit_window += [int(firings.windows[start])] * len(found)
    words: dict[str, int] = {}
    form_word = np.array([words.setdefault(form.lower(), len(words)) for form in forms], np.int32)
    begins = np.ones(len(units), np.bool_)
    begins[1:] = units[1:] != units[:-1]
    ends_ = np.ones(len(units), np.bool_)
    ends_[:-1] = begins[1:]
    return Reading(
        firings,
        units,
        begins,
        ends_,
        np.array(unit_form, np.int32),
        np.array(unit_window, np.int32),
        list(forms),
        list(words),
        form_word,
    )

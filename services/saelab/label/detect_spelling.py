"""Detectors of signs, digits, capitals, parts of words, and code."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from services.saelab.label.detector_registry import detector
from services.saelab.label.reading import Bools, Reading

_SIGNS = {
    "commas": ",",
    "full stops": ".",
    "colons": ":",
    "semicolons": ";",
    "question marks": "?",
    "exclamation marks": "!",
    "quotation marks": "\"“”«»'‘’`",
    "opening brackets": "([{<",
    "closing brackets": ")]}>",
    "dashes": "-–—",
    "slashes": "/\\",
    "signs of arithmetic": "+=*^%×÷<>",
    "currency signs": "$€£¥",
    "underscores": "_",
}


def _register_sign(phrase: str, signs: str) -> None:
    @detector(phrase)
    def sign(reading: Reading) -> Bools:
        return reading.tokens_where(lambda form: form in signs)


for _phrase, _signs in _SIGNS.items():
    _register_sign(_phrase, _signs)


@detector("digits")
def _digits(reading: Reading) -> Bools:
    return reading.tokens_where(str.isdigit)


def _digit_runs(reading: Reading) -> tuple[Bools, NDArray[np.int64]]:
    """[units], the digits, and for each unit how many digits stand in a row around it (within four)."""
    digits = reading.units_where(str.isdigit)
    left, right = np.zeros(len(digits), np.int64), np.zeros(len(digits), np.int64)
    before, after = digits, digits
    for _ in range(4):
        before, after = reading.after(before) & digits, reading.before(after) & digits
        left, right = left + before, right + after
    return digits, left + right + digits


@detector("years")
def _years(reading: Reading) -> Bools:
    digits, run = _digit_runs(reading)
    century = reading.units_where(lambda form: form in "12")
    first = digits & century & (run == 4) & ~reading.after(digits)
    year = first | reading.after(first)
    for _ in range(2):
        year = year | reading.after(year)
    return np.asarray((year & digits & (run == 4))[reading.unit])


@detector("capitalised words inside sentences")
def _names(reading: Reading) -> Bools:
    capitals = reading.units_where(lambda form: len(form) > 1 and form[0].isupper() and form[1:].islower())
    words = reading.units_where(lambda form: form[:1].isalpha() or form in ",;")
    return (capitals & reading.after(words))[reading.unit]


@detector("words in capitals")
def _capitals(reading: Reading) -> Bools:
    return reading.tokens_where(lambda form: len(form) > 1 and form.isalpha() and form.isupper())


@detector("single letters")
def _letters(reading: Reading) -> Bools:
    return reading.tokens_where(lambda form: len(form) == 1 and form.isalpha() and form not in "aAI")


@detector("contractions")
def _contractions(reading: Reading) -> Bools:
    return reading.tokens_where(lambda form: re.search(r"['’](s|t|re|ve|ll|d|m)$", form) is not None)


@detector("beginnings of words of several tokens")
def _beginnings(reading: Reading) -> Bools:
    return reading.begins & ~reading.ends & _lettered(reading)


@detector("middles of words of several tokens")
def _middles(reading: Reading) -> Bools:
    return ~reading.begins & ~reading.ends & _lettered(reading)


@detector("last tokens of words of several tokens")
def _endings(reading: Reading) -> Bools:
    return reading.ends & ~reading.begins & _lettered(reading)


def _lettered(reading: Reading) -> Bools:
    return reading.tokens_where(lambda form: form[:1].isalpha())


@detector("code")
def _code(reading: Reading) -> Bools:
    """Where a quarter of the units around are signs that prose hardly has, or words with an underscore."""
    signs = reading.units_where(lambda form: form in "(){}[]=_<>/\\|#@*&$:;`" and len(form) == 1)
    wide = reading.units_where(lambda form: form.isspace() and len(form) > 2)
    return (reading.around(signs | wide, 10) >= 6)[reading.unit]

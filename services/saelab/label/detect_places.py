"""Detectors of places: in a text, a turn, a line or a sentence."""

from __future__ import annotations

import numpy as np

from services.saelab.annotated import ROLES, TEMPLATE
from services.saelab.label.detector_registry import detector
from services.saelab.label.reading import Bools, Reading

_TURN_BEGINNING = 4
"""The beginning of a turn or a text is so many tokens."""


def _first(reading: Reading, role: str, count: int) -> Bools:
    firings = reading.firings
    position = firings.turn_positions
    return np.asarray((firings.roles == ROLES.index(role)) & (position >= 0) & (position < count))


@detector("beginning of the text")
def _text_beginning(reading: Reading) -> Bools:
    return _first(reading, "", _TURN_BEGINNING)


def _register_turns(role: str) -> None:
    name = f"the {role}'s turn"

    @detector(f"first token of {name}")
    def first(reading: Reading) -> Bools:
        return _first(reading, role, 1)

    @detector(f"beginning of {name}")
    def beginning(reading: Reading) -> Bools:
        return _first(reading, role, _TURN_BEGINNING)

    @detector(f"{role}'s turn")
    def whole(reading: Reading) -> Bools:
        return np.asarray(reading.firings.roles == ROLES.index(role))

    @detector(f"end of {name}", template=True)
    def end(reading: Reading) -> Bools:
        inside = reading.firings.roles == ROLES.index(role)
        ends = np.zeros_like(inside)
        ends[1:] = inside[:-1] & ~inside[1:]
        return np.asarray(ends)


for _role in ("user", "assistant"):
    _register_turns(_role)


@detector("chat template", template=True)
def _template(reading: Reading) -> Bools:
    return np.asarray(reading.firings.roles == TEMPLATE)


def _line_starts(reading: Reading) -> Bools:
    """[units], the first of each line but the window's first."""
    breaks = reading.units_where(lambda form: "\n" in form)
    spaces = reading.units_where(str.isspace) & ~breaks
    starts = reading.after(breaks)
    return (starts | reading.after(starts & spaces)) & ~spaces & ~breaks


def _sentence_starts(reading: Reading) -> Bools:
    """[units], words after a full stop, and what may stand between."""
    ends = reading.units_where(lambda form: form in ".!?")
    closing = reading.units_where(lambda form: form in "\"'”’)")
    follows = reading.after(ends) | reading.after(reading.after(ends) & closing)
    return follows & reading.units_where(lambda form: form[:1].isupper())


@detector("line breaks")
def _line_breaks(reading: Reading) -> Bools:
    return reading.tokens_where(lambda form: "\n" in form)


@detector("empty lines")
def _empty_lines(reading: Reading) -> Bools:
    return reading.tokens_where(lambda form: form.count("\n") > 1)


@detector("first word of a line")
def _line_start(reading: Reading) -> Bools:
    return _line_starts(reading)[reading.unit]


@detector("first word of a sentence")
def _sentence_start(reading: Reading) -> Bools:
    return _sentence_starts(reading)[reading.unit]


@detector("list numbers")
def _list_numbers(reading: Reading) -> Bools:
    digits = reading.units_where(str.isdigit)
    first = _line_starts(reading) & digits
    second = reading.after(first) & digits
    dots = reading.after(first | second) & reading.units_where(lambda form: form in ".)")
    return (first | second | dots)[reading.unit]


@detector("bullet points")
def _bullets(reading: Reading) -> Bools:
    return (_line_starts(reading) & reading.units_where(lambda form: form in "-*•–+"))[reading.unit]


@detector("indentation")
def _indentation(reading: Reading) -> Bools:
    return reading.tokens_where(lambda form: form.isspace() and "\n" not in form)

"""Things that can be told of a token without a model: a registry.

Each detector has the phrase by which labels speak of it; whoever reads such a label, the offline judge included, knows
which tokens it means.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

import numpy as np

from services.saelab.annotated import TEMPLATE
from services.saelab.label.reading import Bools, Reading

Detector = Callable[[Reading], Bools]
"""[tokens], where it is found."""

DETECTORS: dict[str, Detector] = {}
"""By phrase."""


def detector(phrase: str, *, template: bool = False) -> Callable[[Detector], Detector]:
    """Registers a detector; the chat template's own tokens are left out of what it finds unless `template`.

    Raises ValueError where the phrase is taken.
    """
    if phrase in DETECTORS:
        raise ValueError(f"a detector of {phrase!r} is registered already")

    def register(function: Detector) -> Detector:
        def of_text(reading: Reading) -> Bools:
            return np.asarray(function(reading) & (reading.firings.roles != TEMPLATE))

        DETECTORS[phrase] = function if template else of_text
        return function

    return register


def phrases_in(label: str) -> list[str]:
    """The detectors that a label speaks of; not those whose phrase only stands inside another's."""
    plain = label.lower().replace("’", "'")
    found = [(match.span(), phrase) for phrase in DETECTORS for match in _pattern(phrase).finditer(plain)]
    inner = {
        (span, phrase)
        for span, phrase in found
        for other, _ in found
        if other != span and other[0] <= span[0] and span[1] <= other[1]
    }
    return list(dict.fromkeys(phrase for span, phrase in found if (span, phrase) not in inner))


@cache
def _pattern(phrase: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(phrase.lower())}(?!\w)")

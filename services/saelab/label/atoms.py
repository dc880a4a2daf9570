"""What labels say of single tokens, and where in the texts it is so.

The conventions that labels are written in, and read by:

- `"sea"` is the word or sign itself, in any case unless it has a capital; `"New York"` is these units in a row.
- `"mat-"`, `"-ment"`, `"-ued-"` are words that begin with, end with or hold these letters.
- `after "of"` is whatever follows it, `before "of"` whatever stands before it.
- The phrases of detectors.py mean what they detect.
- Any other word that is no function word is mentioned: it stands for all its inflections.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from services.saelab.feature_classes import function_words, stem
from services.saelab.label.detectors import DETECTORS, phrases_in
from services.saelab.label.reading import UNIT, Bools, Reading


class Kind(StrEnum):
    """What an atom looks at."""

    LITERAL = "literal"
    AFTER = "after"
    BEFORE = "before"
    DETECTOR = "detector"
    MENTION = "mention"


@dataclass(frozen=True, slots=True)
class Atom:
    """One thing that a label says."""

    kind: Kind
    text: str
    """Of a literal or of what comes before as it stands between the quotation marks; a detector's phrase; a stem."""


_QUOTED = re.compile(r'(?P<place>\b(?:after|before) )?["“](?P<text>[^"“”]{1,40})["”]')
_WORD = re.compile(r"[^\W\d_]{3,}")
_NOT_MENTIONED = frozenset(
    "word words text token tokens phrase letters letter beginning beginnings ending endings such like".split()
)


def atoms_of(label: str) -> list[Atom]:
    """What a label says, each thing once."""
    found = []
    for match in _QUOTED.finditer(label):
        kind = Kind(match["place"].strip()) if match["place"] else Kind.LITERAL
        found.append(Atom(kind, match["text"].strip()))
    rest = _QUOTED.sub(" ", label)
    for phrase in phrases_in(rest):
        found.append(Atom(Kind.DETECTOR, phrase))
        rest = re.sub(re.escape(phrase), " ", rest, flags=re.IGNORECASE)
    for word in _WORD.findall(rest.lower()):
        if word not in function_words() and word not in _NOT_MENTIONED:
            found.append(Atom(Kind.MENTION, stem(word)))
    return [atom for atom in dict.fromkeys(found) if atom.text]


class AtomIndex:
    """Finds atoms in the texts; what was found once is remembered."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._found: dict[Atom, NDArray[np.int32]] = {}
        self._forms_by_stem: dict[str, list[int]] = {}
        for form, word in enumerate(reading.form_word):
            self._forms_by_stem.setdefault(stem(reading.words[word]), []).append(form)
        order = np.argsort(reading.unit_form[reading.unit], kind="stable").astype(np.int32)
        self._tokens_by_form = order
        counts = np.bincount(reading.unit_form[reading.unit], minlength=len(reading.forms))
        self._form_offsets = np.concatenate([[0], counts.cumsum()])

    def tokens(self, atom: Atom) -> NDArray[np.int32]:
        """The tokens that it is true of, in order."""
        if atom not in self._found:
            self._found[atom] = self._find(atom)
        return self._found[atom]

    def _find(self, atom: Atom) -> NDArray[np.int32]:
        reading = self._reading
        match atom.kind:
            case Kind.DETECTOR:
                return np.flatnonzero(DETECTORS[atom.text](reading)).astype(np.int32)
            case Kind.MENTION:
                return self._of_forms(self._forms_by_stem.get(atom.text, []))
            case Kind.AFTER:
                return self._of_units(reading.after(self._runs(atom.text)[-1]))
            case Kind.BEFORE:
                return self._of_units(reading.before(self._runs(atom.text)[0]))
            case Kind.LITERAL:
                return self._of_units(np.any(self._runs(atom.text), axis=0))

    def _runs(self, text: str) -> list[Bools]:
        """For each unit of the text, where it stands as part of the whole: [units]."""
        parts = [text] if _is_affix(text) else UNIT.findall(text)
        found: list[Bools] = []
        for part in parts:
            here = np.zeros(len(self._reading.forms), np.bool_)
            here[self._forms(part)] = True
            units = here[self._reading.unit_form]
            found.append(self._reading.after(found[-1]) & units if found else units)
        for place in range(len(found) - 2, -1, -1):
            found[place] = self._reading.before(found[place + 1])
        return found or [np.zeros(len(self._reading.unit_form), np.bool_)]

    def _of_units(self, units: Bools) -> NDArray[np.int32]:
        return np.flatnonzero(units[self._reading.unit]).astype(np.int32)

    def _forms(self, text: str) -> NDArray[np.int64]:
        test = form_test(text)
        return np.flatnonzero(np.fromiter(map(test, self._reading.forms), np.bool_, len(self._reading.forms)))

    def _of_forms(self, forms: Iterable[int]) -> NDArray[np.int32]:
        offsets = self._form_offsets
        parts = [self._tokens_by_form[offsets[form] : offsets[form + 1]] for form in forms]
        return np.sort(np.concatenate(parts)) if parts else np.zeros(0, np.int32)


def _is_affix(text: str) -> bool:
    letters = text.strip("-")
    return letters != text and letters.isalpha()


def form_test(text: str) -> Callable[[str], bool]:
    """Whether a unit is what a literal of one unit says."""
    cased = text != text.lower()
    letters = text.strip("-")

    def plain(form: str) -> str:
        return form if cased else form.lower()

    if not _is_affix(text):
        return lambda form: plain(form) == text
    if text.startswith("-") and text.endswith("-"):
        return lambda form: letters in plain(form)[1:-1]
    if text.endswith("-"):
        return lambda form: len(form) > len(letters) and plain(form).startswith(letters)
    return lambda form: len(form) > len(letters) and plain(form).endswith(letters)

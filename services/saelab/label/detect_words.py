"""Detectors of languages, closed classes of words, endings, and of what follows things that other detectors find."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

import numpy as np

from services.saelab.feature_classes import FUNCTION_WORDS
from services.saelab.label import detect_places, detect_spelling  # noqa: F401 - their detectors are followed
from services.saelab.label.detector_registry import DETECTORS, detector
from services.saelab.label.reading import Bools, Reading

WORD_CLASSES = Path(__file__).with_name("word_classes.toml")
_LANGUAGES = {"fr": "French text", "es": "Spanish text", "de": "German text"}
_LANGUAGE_REACH = 12
"""Units to either side that are looked at to tell the language."""


def _register_language(code: str, phrase: str) -> None:
    @detector(phrase)
    def language(reading: Reading) -> Bools:
        own = _distinctive(code)
        english = _distinctive("en")
        counts = reading.around(reading.units_where(lambda form: form.lower() in own), _LANGUAGE_REACH)
        others = reading.around(reading.units_where(lambda form: form.lower() in english), _LANGUAGE_REACH)
        return ((counts >= 3) & (counts > 2 * others))[reading.unit]


@cache
def _distinctive(code: str) -> frozenset[str]:
    """Function words that no other listed language has, of two letters or more."""
    lists = {name: set(words.split()) for name, words in tomllib.loads(FUNCTION_WORDS.read_text()).items()}
    others = set().union(*(words for name, words in lists.items() if name != code))
    return frozenset(word for word in lists[code] - others if len(word) > 1)


for _code_name, _phrase in _LANGUAGES.items():
    _register_language(_code_name, _phrase)


@detector("text that is not in Latin letters")
def _other_letters(reading: Reading) -> Bools:
    return reading.tokens_where(lambda form: form.isalpha() and ord(form[0]) > 0x24F)


def _register_words(phrase: str, words: frozenset[str]) -> None:
    @detector(phrase)
    def belongs(reading: Reading) -> Bools:
        return reading.tokens_where(lambda form: form.lower().replace("’", "'") in words)


for _phrase, _words in tomllib.loads(WORD_CLASSES.read_text("utf-8")).items():
    _register_words(_phrase, frozenset(_words.split()))


def _register_ending(ending: str) -> None:
    @detector(f"words in -{ending}")
    def ends(reading: Reading) -> Bools:
        return reading.tokens_where(
            lambda form: len(form) > len(ending) + 2 and form.isalpha() and form.lower().endswith(ending)
        )


for _ending in ("ing", "ed", "ly", "tion", "ment", "ness", "ity", "able", "ous", "al", "er", "ist", "ism"):
    _register_ending(_ending)


def _register_after(phrase: str, name: str) -> None:
    @detector(f"after {name}")
    def after(reading: Reading) -> Bools:
        found = DETECTORS[phrase](reading)
        units = np.zeros(len(reading.unit_form), np.bool_)
        units[reading.unit[found]] = True
        return reading.after(units)[reading.unit]


for _phrase, _name in (
    ("commas", "a comma"),
    ("colons", "a colon"),
    ("full stops", "a full stop"),
    ("articles", "an article"),
    ("possessives", "a possessive"),
    ("prepositions", "a preposition"),
    ("digits", "a digit"),
    ("opening brackets", "an opening bracket"),
    ("quotation marks", "a quotation mark"),
    ("forms of to be", "a form of to be"),
    ("modal verbs", "a modal verb"),
    ("line breaks", "a line break"),
):
    _register_after(_phrase, _name)

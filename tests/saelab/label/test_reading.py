"""What labels say of tokens, and where it is found."""

from __future__ import annotations

import numpy as np
import pytest

from services.saelab.feature_classes import stem
from services.saelab.label.atoms import Atom, AtomIndex, Kind, atoms_of
from services.saelab.label.detector_registry import detector
from services.saelab.label.detectors import DETECTORS, phrases_in
from services.saelab.label.reading import read_units
from tests.saelab.label.made_texts import firings_of


def found(texts: list[str], label: str, turns: list[str] | None = None) -> list[str]:
    """The tokens that a label is true of, without spaces; a single space belongs to what follows it."""
    firings = firings_of(texts, turns=turns)
    index = AtomIndex(read_units(firings))
    tokens = np.concatenate([index.tokens(atom) for atom in atoms_of(label)])
    return [piece for token in np.unique(tokens) if (piece := firings.pieces[token].strip(" "))]


def test_every_token_belongs_to_the_word_or_sign_that_it_is_part_of() -> None:
    firings = firings_of(["It wasn't extraordinary:\n\n  16 words"])
    reading = read_units(firings)
    units = [reading.forms[reading.unit_form[unit]] for unit in reading.unit]
    pairs = dict(zip(firings.pieces, units, strict=True))
    assert pairs[" extraor"] == pairs["dinary"] == "extraordinary"
    assert pairs[" wasn"] == pairs["t"] == "wasn't"
    assert pairs["1"] == "1"
    assert pairs[":"] == ":"
    assert units.count("\n\n") == 2
    assert (pairs[" extraor"], pairs[" words"]) == ("extraordinary", "words")
    assert reading.begins.sum() == reading.ends.sum() == len(set(reading.unit.tolist()))


@pytest.mark.parametrize(
    ("label", "tokens"),
    [
        ('the word "sea"', ["sea", "Sea"]),
        ('"Sea"', ["Sea"]),
        ('"the sea"', ["the", "sea"]),
        ('after "the"', ["sea", "walk"]),
        ('before "walk"', ["the"]),
        ('words beginning with "wal-"', ["walk", "walking"]),
        ('words ending in "-ing"', ["walking"]),
        ('words with "-ki-"', ["walking"]),
        ("walking, seas", ["sea", "walk", "Sea", "walking"]),
        ("personal pronouns", ["He"]),
        ("full stops", ["."]),
    ],
)
def test_a_label_is_true_of_the_tokens_that_it_names(label: str, tokens: list[str]) -> None:
    assert found(["He saw the sea, and the walk. Sea walking"], label) == tokens


@pytest.mark.parametrize(
    ("label", "tokens"),
    [
        ("digits", list("5312019")),
        ("list numbers", ["1", "."]),
        ("years", list("2019")),
        ("first word of a sentence", ["He", "Then"]),
        ("first word of a line", ["A", "1", "It"]),
        ("capitalised words inside sentences", ["Paris"]),
        ("line breaks", ["\n"] * 3),
        ("after a comma", ["not"]),
        ("contractions", ["isn", "'", "t"]),
    ],
)
def test_detectors_find_positions_and_formats(label: str, tokens: list[str]) -> None:
    text = "End. He saw Paris, not 53. Then\nA line\n1. in 2019\nIt isn't"
    assert found([text], label) == tokens


def test_turns_are_told_apart() -> None:
    texts, turns = ["How are you", "Very well indeed thanks a lot"], ["user", "assistant"]
    assert found(texts, "first token of the assistant's turn", turns) == ["Very"]
    assert found(texts, "beginning of the assistant's turn", turns) == ["Very", "well", "indeed", "thanks"]
    assert found(texts, "user's turn", turns) == ["How", "are", "you"]
    assert found(texts, "end of the user's turn", turns) == ["Very"]


def test_languages_are_told_by_their_function_words() -> None:
    french = "le chat est dans la maison avec les enfants et il ne dort pas"
    spanish = "el perro está en el jardín con los niños pero no duerme"
    english = "the dog is in the garden with its children but it does not sleep"
    assert len(found([french, spanish, english], "French text")) == len(french.split())
    assert found([english], "French text") == found([english], "Spanish text") == []
    assert len(found([french, spanish, english], "Spanish text")) > 8


def test_a_phrase_inside_a_longer_one_is_not_meant() -> None:
    assert phrases_in("the first token of the assistant's turn") == ["first token of the assistant's turn"]
    assert phrases_in("Digits in French text") == ["digits", "French text"]
    assert phrases_in("digitalis") == []


def test_what_a_label_says_is_read_by_its_conventions() -> None:
    assert atoms_of('the word "bank" (trade, loans)') == [
        Atom(Kind.LITERAL, "bank"),
        Atom(Kind.MENTION, stem("trade")),
        Atom(Kind.MENTION, "loan"),
    ]
    assert atoms_of('after "of", commas') == [Atom(Kind.AFTER, "of"), Atom(Kind.DETECTOR, "commas")]
    assert atoms_of("") == []


def test_a_detector_is_registered_once() -> None:
    with pytest.raises(ValueError, match="registered already"):
        detector("digits")


def test_no_detector_fails_on_a_text_without_anything() -> None:
    reading = read_units(firings_of([" ", "a"]))
    for detect in DETECTORS.values():
        assert detect(reading).shape == (2,)

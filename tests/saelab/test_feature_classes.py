"""What the rules of feature_classes.py say of crafted features."""

from __future__ import annotations

import pytest

from services.saelab.annotated import ROLES
from services.saelab.feature_classes import ActiveToken, classify, function_words, is_grammatical, stem
from services.saelab.feature_rows import FeatureClass

PLAIN, TEMPLATE, ASSISTANT = (ROLES.index(name) for name in ("", "template", "assistant"))


def token(
    word: str, activation: float = 1.0, *, role: int = PLAIN, at: int = 50, piece: str | None = None
) -> ActiveToken:
    """A token that is the whole word, or the piece at its end."""
    return ActiveToken(piece or " " + word, word, piece is not None, role, at, activation)


CASES: dict[str, tuple[list[ActiveToken], FeatureClass]] = {
    "words of one meaning": (
        [token(w) for w in ("sea", "ocean", "ship", "sailor", "wave", "the")],
        FeatureClass.CONCEPT,
    ),
    "one word in all its forms": (
        [token(w) for w in ("sail", "Sails", "sailing", "sailed", "ship", "sea")],
        FeatureClass.LEXICAL,
    ),
    "a word made of pieces": (
        [token("Zoroastrian", piece="ian"), token("Zoroastrian", piece="ro"), token("sea")],
        FeatureClass.LEXICAL,
    ),
    "different numbers": ([token(w) for w in ("1", "22", "1984", "7")], FeatureClass.CONCEPT),
    "function words": ([token(w) for w in ("the", "of", "a", "which", "sea")], FeatureClass.SYNTACTIC),
    "one function word": ([token("Of"), token("of"), token("of")], FeatureClass.SYNTACTIC),
    "function words of other languages": (
        [token(w) for w in ("dans", "les", "que", "por", "und")],
        FeatureClass.SYNTACTIC,
    ),
    "signs and line breaks": ([token(w) for w in (",", "\n", '."', "(", "sea")], FeatureClass.SYNTACTIC),
    "one ending of different words": (
        [token(w, piece="ology") for w in ("geology", "biology", "theology")],
        FeatureClass.SYNTACTIC,
    ),
    "the template's tokens": (
        [token("<|im_end|>", role=TEMPLATE, at=-1), token("assistant", role=TEMPLATE, at=-1), token("sea")],
        FeatureClass.TEMPLATE,
    ),
    "the first token of a turn, whatever it is": (
        [token(w, role=ASSISTANT, at=0) for w in ("Sure", "The", "I", "Once")] + [token("sea")],
        FeatureClass.POSITION,
    ),
    "the same word at the beginning of turns": (
        [token("Sure", role=ASSISTANT, at=0)] * 3 + [token("sea")],
        FeatureClass.LEXICAL,
    ),
    "a concept with weak activations on function words": (
        [token("sea", 5.0), token("ship", 5.0), token("wave", 5.0), *[token("the", 0.5)] * 8],
        FeatureClass.CONCEPT,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_crafted_features_get_their_class(case: str) -> None:
    tokens, expected = CASES[case]
    assert classify(tokens) is expected


def test_shares_count_by_activation() -> None:
    words = [token("the", 1.0), token("sea", 1.0), token("ship", 1.0)]
    assert classify(words) is FeatureClass.CONCEPT
    assert classify([token("the", 4.0), *words[1:]]) is FeatureClass.SYNTACTIC


def test_a_feature_without_activations_has_no_class() -> None:
    with pytest.raises(ValueError, match="dead"):
        classify([])


@pytest.mark.parametrize(
    "forms", ["walk walks walked walking", "story stories", "make makes making", "King king's"]
)
def test_forms_of_a_word_have_one_stem(forms: str) -> None:
    assert len({stem(word) for word in forms.split()}) == 1


def test_short_words_keep_their_endings() -> None:
    assert {stem(word) for word in ("bed", "best", "bee", "ring", "is")} == {
        "bed",
        "best",
        "bee",
        "ring",
        "is",
    }


def test_grammatical_words_are_signs_and_listed_words_alone() -> None:
    assert all(is_grammatical(word) for word in (" The", "don’t".split("’")[0], ",", " ", "\n\n", "’s", "…"))
    assert not any(is_grammatical(word) for word in ("sea", "7", "x", "François"))
    assert all(word == word.lower() for word in function_words())

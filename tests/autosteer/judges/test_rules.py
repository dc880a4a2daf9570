"""The rules that find broken texts before a judge is asked."""

from __future__ import annotations

import pytest

from services.autosteer.judges.gold import gold_pairs
from services.autosteer.judges.rules import distinct_runs, fault, words_of


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "too short"),
        ("Yes.", "too short"),
        ("the sea the sea the sea the sea the sea the sea", "repeats itself"),
        (
            "Hello! Hello! Oh, hello! Hello! Oh, hello! Hello! Hello! Hello! Hello! Your name",
            "repeats itself",
        ),
        ("sea one sea two sea three sea four sea five sea six sea seven", "one word over and over"),
    ],
)
def test_broken_texts_are_named(text: str, why: str) -> None:
    assert fault(text) == why


def test_a_run_of_four_words_may_come_twice_and_no_more() -> None:
    filler = [f"word{n}" for n in range(60)]
    run = ["as", "I", "said", "before"]
    twice = [*run, *filler[:30], *run, *filler[30:]]
    thrice = [*run, *filler[:30], *run, *filler[30:], *run]
    assert fault(" ".join(twice)) == ""
    assert fault(" ".join(thrice)) == "loops"


def test_scripts_without_spaces_count_by_characters() -> None:
    assert words_of("我喜欢大海") == ["我", "喜", "欢", "大", "海"]
    assert fault("我喜欢大海和所有的船") == ""
    assert fault("海海海海海海海海海海海海海海") != ""


def test_sound_texts_pass() -> None:
    for pair in gold_pairs():
        assert fault(pair.better) == ""
        assert fault(pair.plain) == ""


def test_a_text_without_a_run_is_distinct() -> None:
    assert distinct_runs(["one", "two"]) == 1.0

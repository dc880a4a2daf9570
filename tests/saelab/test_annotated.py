from __future__ import annotations

from pathlib import Path

import pytest

from services.inference.tokenizer import Tokenizer
from services.saelab.annotated import ROLES, annotate, pieces
from services.saelab.documents import Document, Message
from services.saelab.errors import CorpusError
from services.saelab.windows import Windower

CHAT = Document(
    "c",
    "test",
    messages=(
        Message("system", "Speak of the sea only."),
        Message("user", "ship or star, wave or moon, bread or salt?"),
        Message("assistant", "The sea ship song of the love king."),
    ),
)
PLAIN = Document("p", "test", " ".join(["sea ship wave star"] * 20))


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Tokenizer:
    return Tokenizer(tiny_model)


def test_each_token_has_its_role_and_its_place_in_the_turn(tokenizer: Tokenizer) -> None:
    text = annotate([CHAT], tokenizer, 1000, 1000)
    turns: dict[str, list[int]] = {}
    for token, role, position in zip(text.tokens, text.roles, text.turn_positions, strict=True):
        name = ROLES[role]
        if name == "template":
            assert position == -1
        else:
            assert position == len(turns.setdefault(name, []))
            turns[name].append(int(token))
    told = {message.role: message.content for message in CHAT.messages}
    assert {name: tokenizer.plain.decode(ids) for name, ids in turns.items()} == told
    assert set(text.tokens[text.roles == ROLES.index("template")]) <= set(tokenizer.plain.all_special_ids) | {
        0,
        1,
        2,
        3,
    }


def test_text_that_is_no_conversation_has_no_role(tokenizer: Tokenizer) -> None:
    text = annotate([PLAIN], tokenizer, 1000, 1000)
    assert set(text.roles) == {0}
    assert text.turn_positions.tolist() == list(range(len(text.tokens)))


def test_windows_follow_one_another_as_the_windower_cuts_them(tokenizer: Tokenizer) -> None:
    text = annotate([PLAIN, CHAT], tokenizer, 24, 1000)
    assert list(text.windows) == list(Windower(tokenizer.plain, 24).windows([PLAIN, CHAT]))
    assert text.tokens.tolist() == [token for window in text.windows for token in window.tokens]
    for number, window in enumerate(text.windows):
        start = int(text.starts[number])
        end = start + len(window.tokens)
        assert text.bounds(start) == text.bounds(end - 1) == (start, end)
    assert [text.ids[document] for document in text.documents] == [
        *["p"] * sum(len(w.tokens) for w in text.windows if not w.is_chat),
        *["c"] * sum(len(w.tokens) for w in text.windows if w.is_chat),
    ]
    second = int(text.starts[1])
    assert text.turn_positions[second] == 24  # It goes on counting in the next window.
    numbers = [number for batch in text.batches(3) for number in batch]
    assert sorted(numbers) == list(range(len(text.windows)))
    lengths = [len(text.windows[number].tokens) for number in numbers]
    assert lengths == sorted(lengths, reverse=True)


def test_reading_ends_with_the_document_that_reaches_the_limit(tokenizer: Tokenizer) -> None:
    other = Document("q", "test", PLAIN.text)
    assert annotate([PLAIN, other], tokenizer, 64, 10).ids == ("p",)
    assert annotate([PLAIN, other], tokenizer, 64, 10_000).ids == ("p", "q")
    with pytest.raises(CorpusError, match="long enough"):
        annotate([Document("s", "test", "sea")], tokenizer, 64, 100)


def test_pieces_put_together_are_the_text_even_across_broken_characters(tokenizer: Tokenizer) -> None:
    text = "sea café — “ship” 海 🌊 wave"
    ids = tokenizer.encode_text(text)
    made = pieces(tokenizer, ids)
    assert len(made) == len(ids)
    assert "".join(made) == text
    assert "" in made  # A token in the middle of a character.
    cut = next(n for n, piece in enumerate(made) if piece == "")
    assert pieces(tokenizer, ids[: cut + 1])[-1] == "\ufffd"

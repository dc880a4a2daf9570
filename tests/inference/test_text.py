"""Text of a growing answer: whole characters, and nothing at or after a stop string."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.inference.text import TextStream

FOX = "\U0001f98a"


def stream(pieces: list[bytes], stops: tuple[str, ...] = ()) -> tuple[list[str], str | None]:
    """What is shown after each token and at the end, and the stop string that came."""
    text = TextStream(stops)
    shown = []
    for piece in pieces:
        shown.append(text.push(piece))
        if text.stopped is not None:
            return shown, text.stopped
    shown.append(text.finish())
    return shown, text.stopped


def expected(pieces: list[bytes], stops: tuple[str, ...]) -> str:
    """The whole text up to the token that completes a stop string, cut at the first one."""
    for count in range(1, len(pieces) + 1):
        text = decoded(pieces[:count])
        if any(stop in text for stop in stops):
            return text[: min(text.index(stop) for stop in stops if stop in text)]
    return b"".join(pieces).decode("utf-8", "replace")


def decoded(pieces: list[bytes]) -> str:
    """The text so far, without bytes at its end that may yet become a character."""
    whole = b"".join(pieces)
    open_end = next((n for n in (3, 2, 1) if len(whole) >= n and may_become_a_character(whole[-n:])), 0)
    return whole[: len(whole) - open_end].decode("utf-8", "replace")


def may_become_a_character(end: bytes) -> bool:
    return any(
        is_a_character(end + first + b"\x80" * n) for first in (b"\x80", b"\x90", b"\xa0") for n in range(3)
    )


def is_a_character(text: bytes) -> bool:
    try:
        return len(text.decode()) == 1
    except UnicodeDecodeError:
        return False


def test_a_stop_string_over_token_borders_is_never_shown() -> None:
    shown, stopped = stream([b"Hello ST", b"O", b"P more"], ("STOP",))
    assert (shown, stopped) == (["Hello ", "", ""], "STOP")


def test_text_that_did_not_become_a_stop_string_is_shown_at_once() -> None:
    assert stream([b"ST", b"O", b"RY"], ("STOP",))[0] == ["", "", "STORY", ""]


def test_the_end_sends_what_was_held_back() -> None:
    assert stream([b"a ST"], ("STOP",)) == (["a ", "ST"], None)


def test_of_overlapping_stop_strings_the_earliest_counts_then_the_longest() -> None:
    assert stream([b"xabcd"], ("bc", "abcd", "abc")) == (["x"], "abcd")
    assert stream([b"xab", b"cd"], ("bc", "abcd")) == (["x", ""], "abcd")


def test_the_first_token_that_completes_a_stop_string_ends_the_text() -> None:
    """A longer one that has begun before is not waited for."""
    assert stream([b"xab", b"c", b"d"], ("bc", "abcd")) == (["x", "a"], "bc")


def test_a_stop_string_that_overlaps_itself_is_found() -> None:
    assert stream([b"a", b"a", b"b", b"a", b"a", b"a", b"b", b"x"], ("aaab",)) == (
        ["", "", "aab", "", "", "", ""],
        "aaab",
    )


def test_a_character_over_several_tokens_comes_whole() -> None:
    pieces = [bytes([byte]) for byte in FOX.encode()]
    assert stream([b"a", *pieces, b"b"])[0] == ["a", "", "", "", FOX, "b", ""]


def test_a_stop_string_inside_characters_of_several_tokens() -> None:
    pieces = [bytes([byte]) for byte in f"caf\u00e9 {FOX}!".encode()]
    assert "".join(stream(pieces, (f"\u00e9 {FOX}",))[0]) == "caf"


def test_bytes_that_are_no_text_become_replacement_characters() -> None:
    assert "".join(stream([b"a\xff", b"\xf0\x9f", b"b"])[0]) == "a\ufffd\ufffdb"
    assert stream([b"a", b"\xf0\x9f"])[0] == ["a", "", "\ufffd"]


pieces = st.lists(
    st.one_of(
        st.sampled_from([b"a", b"b", b"ab", b"ba", b"aab", b"\n", b"", "\u00e9".encode(), FOX.encode()]),
        st.sampled_from([bytes([byte]) for byte in f"{FOX}\u00e9".encode()]),
        st.binary(max_size=3),
    ),
    max_size=25,
)
stops = st.lists(
    st.one_of(st.text(alphabet="ab\n", min_size=1, max_size=4), st.sampled_from([FOX, f"a{FOX}", "\u00e9b"])),
    max_size=4,
).map(tuple)


@settings(max_examples=200, deadline=None)
@given(pieces, stops)
@example([b"a", b"\xf0", b"\x9f\xa6", b"\x8a"], (FOX,))
def test_the_text_shown_is_the_whole_text_cut_at_the_first_stop_string(
    pieces: list[bytes], stops: tuple[str, ...]
) -> None:
    shown, stopped = stream(pieces, stops)
    assert "".join(shown) == expected(pieces, stops)
    assert (stopped is not None) == any(
        stop in decoded(pieces[:n]) for n in range(1, len(pieces) + 1) for stop in stops
    )


@settings(max_examples=100, deadline=None)
@given(pieces, stops)
def test_what_is_shown_is_never_taken_back(pieces: list[bytes], stops: tuple[str, ...]) -> None:
    """After every token the text shown so far begins the text shown in the end, and holds no stop string."""
    shown, _ = stream(pieces, stops)
    for count in range(len(shown) + 1):
        assert expected(pieces, stops).startswith("".join(shown[:count]))
        assert not any(stop in "".join(shown[:count]) for stop in stops)


@pytest.mark.parametrize("stop", ["\ufffd"])
def test_a_stop_string_of_replacement_characters_is_found_too(stop: str) -> None:
    assert stream([b"a", b"\xff", b"b"], (stop,)) == (["a", ""], stop)

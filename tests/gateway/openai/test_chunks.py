"""From pieces to chunks: places, events, log probabilities."""

from __future__ import annotations

from typing import Any

from services.gateway.openai.answers import Asked, Chunks, Form, Heading
from services.gateway.openai.bodies import ChatBody
from services.gateway.openai.forms import ChatForm, EmberForm, TextForm
from services.gateway.openai.logprobs import Offsets, of_text
from services.gateway.openai.params import names_of
from services.gateway.openai.pieces import Candidate, Delta, Drawn, Ended, Event, Piece, Started
from services.gateway.openai.wire.requests import seed_of

HEADING = Heading("chatcmpl-1", 1, "tiny", "fp")


def chunks_of(form: Form, *pieces: Piece, answers: int = 1, logprobs: bool = False) -> list[dict[str, Any]]:
    """The chunks of one answer's pieces."""
    chunks = Chunks(HEADING, form, Asked(answers, logprobs, False))
    return [chunk for piece in pieces for chunk in chunks.after(0, piece)]


def places_of(chunks: list[dict[str, Any]]) -> list[int]:
    return [chunk["choices"][0]["gf_token_index"] for chunk in chunks]


def test_a_chunks_place_is_the_number_of_tokens_before_it() -> None:
    chunks = chunks_of(
        EmberForm(), Delta("a", 1), Delta("b c", 2), Delta("", 1), Delta("d", 1), Ended("stop", 6, 0)
    )
    assert places_of(chunks) == [0, 1, 4, 5]


def test_text_without_tokens_has_a_place_of_its_own() -> None:
    chunks = chunks_of(EmberForm(), Delta("a", 1), Delta("held back", 0), Ended("stop", 2, 0))
    assert places_of(chunks) == [0, 1, 2]


def test_events_come_once_with_what_follows_them() -> None:
    pieces = [
        Event("x"),
        Event("y"),
        Event("x"),
        Delta("a", 1),
        Delta("b", 1),
        Event("z"),
        Ended("stop", 2, 0),
    ]
    chunks = chunks_of(EmberForm(), *pieces)
    assert [chunk["gf_event_names"] for chunk in chunks] == [["x", "y"], None, ["z"]]


def test_all_answers_open_in_order_before_the_first_text() -> None:
    opened = chunks_of(ChatForm(), Started(3), Started(3), answers=3)
    assert [chunk["choices"][0]["index"] for chunk in opened] == [0, 1, 2]
    assert all(chunk["choices"][0]["delta"] == {"role": "assistant", "content": ""} for chunk in opened)
    assert chunks_of(EmberForm(), Started(3)) == chunks_of(TextForm(), Started(3)) == []


def test_tokens_without_text_are_told_where_their_logprobs_are_wanted() -> None:
    half = Drawn(Candidate(b"\xe2\x80", -float("inf")))
    (chunk,) = chunks_of(ChatForm(), Delta("", 1, (half,)), logprobs=True)
    (token,) = chunk["choices"][0]["logprobs"]["content"]
    assert token == {"token": "bytes:\\xe2\\x80", "logprob": -9999.0, "bytes": [226, 128], "top_logprobs": []}
    assert chunks_of(ChatForm(), Delta("", 1, (half,))) == []


def test_offsets_count_characters_also_where_tokens_split_them() -> None:
    pieces = [b"a", b"\xf0\x9f", b"\xa6\x8a", "é ".encode(), b"b"]
    drawn = [Drawn(Candidate(piece, -1.0)) for piece in pieces]
    assert of_text(drawn, Offsets())["text_offset"] == [0, 1, 1, 2, 4]


def test_seeds_of_answers_differ_and_those_of_neighbouring_seeds_too() -> None:
    seeds = {seed_of(seed, sample) for seed in range(-8, 8) for sample in range(128)}
    assert len(seeds) == 16 * 128
    assert all(0 <= seed < 2**64 for seed in seeds)
    assert seed_of(42, 0) == 42


def test_the_largest_length_is_called_as_the_caller_called_it() -> None:
    chat = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    older, newer = ChatBody(**chat, max_tokens=1), ChatBody(**chat, max_completion_tokens=1)
    assert names_of(older)["sampling.max_tokens"] == "max_tokens"
    assert names_of(newer)["sampling.max_tokens"] == "max_completion_tokens"

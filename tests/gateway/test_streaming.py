"""Streams of events: as Ember's SDK and everyone else reads them, however they end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from services.errors import NotFound
from services.gateway.streaming import DONE, Event, Numbered, encoded, sse


@dataclass
class Client:
    """What a client gets, and when it goes."""

    path: str = "/v1/chat/completions"
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    sent: list[dict[str, Any]] = field(default_factory=list)

    async def listens(self, events: AsyncIterator[Event], keep_alive: float | None = None) -> str:
        scope = {"type": "http", "path": self.path, "app": SimpleNamespace()}
        await sse(events, keep_alive=keep_alive)(scope, self.receive, self.send)
        return b"".join(each.get("body", b"") for each in self.sent).decode()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)


def test_an_event_is_one_line_of_ascii_in_which_embers_sdk_finds_no_second_one() -> None:
    event = {"content": "data: a\n\ndata: b é \ud800", "data": {"data": "data: "}}
    sent = encoded(event)
    assert sent.startswith(b"data: ")
    assert sent.count(b"data: ") == 1
    assert sent.isascii()
    assert sent.endswith(b"\n\n")
    assert sent.count(b"\n") == 2
    assert json.loads(sent.removeprefix(b"data: ")) == event
    assert encoded(Numbered("7", {"a": 1})) == b'id: 7\ndata: {"a":1}\n\n'
    assert encoded(DONE) == b"data: [DONE]\n\n"


async def test_events_are_sent_as_they_come() -> None:
    async def events() -> AsyncIterator[Event]:
        yield {"n": 1}
        assert len(client.sent) == 2, "the start and the first event have been sent"
        yield {"n": 2}
        yield DONE

    client = Client()
    assert await client.listens(events()) == 'data: {"n":1}\n\ndata: {"n":2}\n\ndata: [DONE]\n\n'
    headers = dict(client.sent[0]["headers"])
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert headers[b"x-accel-buffering"] == b"no"
    assert b"content-length" not in headers


async def test_an_error_before_the_first_event_is_raised_and_a_later_one_is_the_last_event() -> None:
    async def events(count: int) -> AsyncIterator[Event]:
        for number in range(count):
            yield {"n": number}
        raise NotFound("it is gone")

    client = Client()
    with pytest.raises(NotFound):
        await client.listens(events(0))
    assert client.sent == []
    for path, told in (
        ("/v1/chat/completions", {"error": {"message": "it is gone", "param": None}}),
        ("/hearth/v1/generate", {"error": {"status": "NOT_FOUND", "message": "it is gone"}}),
        ("/api/inference/v1/features/search", {"detail": "it is gone", "field": None}),
    ):
        client = Client(path)
        last = json.loads((await client.listens(events(1))).split("\n\n")[1].removeprefix("data: "))
        for key, value in told.items():
            assert last[key] == value if not isinstance(value, dict) else last[key].items() >= value.items()
        assert client.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


@pytest.mark.parametrize("keep_alive", [None, 60.0])
async def test_a_client_that_goes_ends_the_call(keep_alive: float | None) -> None:
    ended = asyncio.Event()

    async def events() -> AsyncIterator[Event]:
        try:
            yield {"n": 1}
            client.gone.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    client = Client()
    async with asyncio.timeout(10):
        await client.listens(events(), keep_alive)
    assert ended.is_set()


async def test_silence_is_filled_with_comments() -> None:
    enough = asyncio.Event()

    async def events() -> AsyncIterator[Event]:
        yield {"n": 1}
        await enough.wait()
        yield {"n": 2}

    class Counting(Client):
        async def send(self, message: Any) -> None:
            await super().send(message)
            if sum(each.get("body", b"").startswith(b":") for each in self.sent) == 2:
                enough.set()

    client = Counting()
    text = await client.listens(events(), keep_alive=0.01)
    assert text.startswith('data: {"n":1}\n\n: ')
    assert text.endswith('data: {"n":2}\n\n')

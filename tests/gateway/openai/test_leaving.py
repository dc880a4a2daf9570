"""Clients that leave before their answer is whole."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from services.rpc.interceptors import CallInterceptor
from tests.gateway.light import Light
from tests.gateway.openai.conftest import CHAT, LONG

BODY: Any = {"model": "tiny", "messages": CHAT, "max_tokens": 900, "n": 8, **LONG}


class Calls:
    """The calls of the inference server."""

    def __init__(self, running: CallInterceptor, light: Light, log: pytest.LogCaptureFixture) -> None:
        self._running, self._light, self._log = running, light, log

    async def begun(self) -> None:
        """Returns when one generates."""
        while not any(_generates(call.method) for call in list(self._running._running.values())):  # noqa: ASYNC110
            await asyncio.sleep(0)  # nothing tells another loop

    def codes(self) -> list[str]:
        """How those that generate ended, when all have."""
        self._light.call(self._running.idle())
        fields = [getattr(record, "fields", {}) for record in self._log.records]
        return [each["code"] for each in fields if _generates(str(each.get("method")))]


def _generates(method: str) -> bool:
    return method.endswith("/Generate")


@pytest.fixture
def calls(light: Light, caplog: pytest.LogCaptureFixture) -> Iterator[Calls]:
    """The calls that begin within the test."""
    with caplog.at_level(logging.INFO, "hearth.rpc"):
        yield Calls(light.inference._calls, light, caplog)


def test_a_stream_that_is_closed_frees_its_places(sdk: openai.OpenAI, calls: Calls) -> None:
    asked = {key: value for key, value in BODY.items() if key not in LONG}
    with sdk.chat.completions.create(**asked, stream=True, extra_body=LONG) as stream:
        next(iter(stream))
    assert set(calls.codes()) == {"CANCELLED"}


async def test_a_whole_answer_that_nobody_waits_for_is_cancelled(light: Light, calls: Calls) -> None:
    async with httpx.AsyncClient(base_url=light.url, headers={"authorization": "Bearer dev"}) as client:
        asking = asyncio.create_task(client.post("/v1/chat/completions", json=BODY))
        await calls.begun()
        asking.cancel()
        await asyncio.wait({asking})
    assert set(await asyncio.to_thread(calls.codes)) == {"CANCELLED"}


def test_tokens_of_an_answer_that_was_broken_off_are_charged(light: Light, calls: Calls) -> None:
    key = light.key(tokens_per_day=5)
    with light.client(key).stream("POST", "/v1/chat/completions", json={**BODY, "stream": True}) as answer:
        next(answer.iter_lines())
    assert set(calls.codes()) == {"CANCELLED"}
    refused = light.client(key).post("/v1/chat/completions", json={**BODY, "n": 1, "max_tokens": 1})
    assert refused.status_code == 429

"""Calls of Ember's routes, and what the services themselves say to the same."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx

from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import prompt_pb2
from tests.gateway.light import Light

T = TypeVar("T")
Q = TypeVar("Q")
BASE = "/api/inference/v1"
HELLO = [{"role": "user", "content": "the ship on the sea"}]
ANSWERED = [*HELLO, {"role": "assistant", "content": "the dough and the bread"}]


def post(client: httpx.Client, route: str, **body: Any) -> Any:
    """What a route answers."""
    answer = client.post(f"{BASE}/{route}", json={"model": "tiny"} | body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def search(client: httpx.Client, query: str = "ships at sea", **options: Any) -> list[dict[str, Any]]:
    """What a search finds."""
    answer = client.get(f"{BASE}/features/search", params={"query": query, "model": "tiny"} | options)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["features"]
    return found


def chat(messages: list[dict[str, str]]) -> prompt_pb2.Prompt:
    """The same for a service."""
    roles = {"user": prompt_pb2.ROLE_USER, "assistant": prompt_pb2.ROLE_ASSISTANT}
    said = [prompt_pb2.ChatMessage(role=roles[m["role"]], content=m["content"]) for m in messages]
    return prompt_pb2.Prompt(chat=prompt_pb2.Chat(messages=said))


def tokens_of(light: Light, messages: list[dict[str, str]]) -> pb.TokenizeResponse:
    """A chat's tokens."""
    return said(light, light.gateway.services.inference.Tokenize, pb.TokenizeRequest(prompt=chat(messages)))


def said(light: Light, method: Callable[[Q], Awaitable[T]], request: Q) -> T:
    """What a service answers."""

    async def call() -> T:
        return await method(request)

    return light.call(call())

"""OpenAI's contract on the platform as `hearth up` starts it, with the embedded model and its SAE."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.gateway.platform import Platform

pytestmark = [pytest.mark.model, pytest.mark.platform]
MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
CHAT: Any = [{"role": "user", "content": "What did you do this morning?"}]
NUDGE = {"edits": [{"feature": {"index": 5}, "nudge": 0.6}]}


@pytest.fixture(scope="module", params=["/v1", "/api/inference/v1"])
def sdk(platform: Platform, request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    """The SDK at both paths."""
    with openai.OpenAI(api_key="dev", base_url=platform.url.rstrip("/") + request.param) as client:
        yield client


def ask(sdk: openai.OpenAI, extra: dict[str, Any], **changes: Any) -> Any:
    """An answer of sixteen tokens."""
    asked = {"model": MODEL, "messages": CHAT, "seed": 7, "max_tokens": 16, "temperature": 0.7}
    return sdk.chat.completions.create(**{**asked, **changes}, extra_body=extra)


def test_plain_and_steered_answers_differ_and_streams_agree_with_them(sdk: openai.OpenAI) -> None:
    texts = []
    for extra in ({}, {"steering": NUDGE, "report": True}):
        choice = ask(sdk, extra).choices[0]
        chunks = list(ask(sdk, extra, stream=True))
        assert "".join(chunk.choices[0].delta.content for chunk in chunks) == choice.message.content
        texts.append(choice.message.content)
    assert texts[0] != texts[1]
    assert choice.report["edits"][0]["tokens"] > 16


def test_the_capital_of_france_is_the_likeliest_word(sdk: openai.OpenAI) -> None:
    answer = sdk.completions.create(
        model=MODEL, prompt="The capital of France is", max_tokens=1, temperature=0, logprobs=3
    )
    assert answer.choices[0].text == " Paris"
    assert answer.choices[0].logprobs is not None
    assert answer.choices[0].logprobs.tokens == [" Paris"]


def test_a_wrong_key_and_a_wrong_model_are_told_apart(platform: Platform) -> None:
    url = platform.url.rstrip("/") + "/v1"
    with openai.OpenAI(api_key="wrong", base_url=url) as stranger, pytest.raises(openai.AuthenticationError):
        ask(stranger, {})
    with openai.OpenAI(api_key="dev", base_url=url) as sdk, pytest.raises(openai.NotFoundError):
        ask(sdk, {}, model="gpt-4o")

"""What goes wrong, as OpenAI's SDK raises it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest

from tests.gateway.light import Light
from tests.gateway.openai.conftest import CHAT, sdk_of


def ask(sdk: openai.OpenAI, **changes: Any) -> Any:
    """An answer of four tokens."""
    return sdk.chat.completions.create(**{"model": "tiny", "messages": CHAT, "max_tokens": 4, **changes})


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "4", "tool_call_id": "1"}]}, "messages[0].role"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages[0].content[0].type",
        ),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "the " * 5000}]}, "messages"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"logit_bias": {"5": 10}}, "logit_bias"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"frequency_penalty": -0.5}, "frequency_penalty"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"temperature": 11}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"seed": 2**64}, "seed"),
        ({"stop": ["x" * 257]}, "stop[0]"),
        ({"stop": [""]}, "stop[0]"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"extra_body": {"top_q": 1}}, "top_q"),
    ],
)
def test_what_cannot_be_honoured_is_a_bad_request_that_names_it(
    sdk: openai.OpenAI, changes: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(sdk, **changes)
    assert (caught.value.type, caught.value.param) == ("invalid_request_error", param)


def test_a_refusal_says_what_is_allowed(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="allowed: an empty list"):
        ask(sdk, tools=[{"type": "function", "function": {"name": "f"}}])
    with pytest.raises(openai.BadRequestError) as caught:
        ask(sdk, messages=[{"role": "user", "content": "the " * 5000}])
    assert caught.value.code == "context_length_exceeded"


def test_a_stream_that_cannot_begin_has_a_status_of_its_own(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        ask(sdk, stream=True, messages=[{"role": "user", "content": "the " * 5000}])


@pytest.mark.parametrize("key", ["", "wrong", "hearth-0000"])
def test_an_unknown_key_is_an_authentication_error(light: Light, key: str, base: str) -> None:
    with sdk_of(light, key or "none", base) as sdk, pytest.raises(openai.AuthenticationError) as caught:
        ask(sdk)
    assert caught.value.code == "invalid_api_key"


def test_an_unknown_model_is_not_found(light: Light, base: str) -> None:
    with sdk_of(light, base=base) as sdk, pytest.raises(openai.NotFoundError) as caught:
        ask(sdk, model="gpt-4o")
    assert (caught.value.param, caught.value.code) == ("model", "model_not_found")


def test_used_up_quotas_are_a_rate_limit_with_the_time_to_wait(light: Light) -> None:
    with sdk_of(light, light.key(requests_per_minute=1)) as sdk:
        ask(sdk)
        with pytest.raises(openai.RateLimitError) as caught:
            ask(sdk)
    assert int(caught.value.response.headers["retry-after"]) >= 1


def test_the_tokens_of_prompts_and_answers_count_against_the_day(light: Light) -> None:
    with sdk_of(light, light.key(tokens_per_day=5)) as sdk:
        answer = ask(sdk)
        assert answer.usage.total_tokens >= 5
        with pytest.raises(openai.RateLimitError):
            ask(sdk)


def test_a_service_that_is_away_is_unavailable_and_the_sdks_retries_outlast_it(
    light: Light, sdk: openai.OpenAI
) -> None:
    with light.without_inference(), pytest.raises(openai.InternalServerError) as caught:
        ask(sdk)
    assert caught.value.status_code == 503
    assert "retry-after" in caught.value.response.headers
    assert ask(sdk.with_options(max_retries=10)).choices  # the SDK waits as it is told


@pytest.mark.parametrize(
    "place",
    [
        {"messages": [{"role": "user", "content": "\ud800"}]},
        {"model": "\ud800"},
        {"model": "variant:\ud800"},
        {"stop": "\ud800"},
        {"\ud800": 1},
        {"steering": {"edits": [{"feature": {"sae": "\ud800"}}]}},
        {"steering": {"scopes": [{"notify": {"event": "\ud800"}}]}},
        {"steering": {"\ud800": 1}},
        {"messages": [{"role": "user", "content": [{"type": "\ud800"}]}]},
    ],
)
def test_half_a_character_is_the_callers_fault(client: httpx.Client, place: dict[str, Any]) -> None:
    body = json.dumps({"model": "tiny", "messages": CHAT, "max_tokens": 4, **place})
    headers = {"content-type": "application/json"}
    answer = client.post("/v1/chat/completions", content=body, headers=headers)
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"null", b'{"model": 1}'])
def test_a_body_that_is_no_request_is_a_bad_request_in_the_same_shape(
    client: httpx.Client, body: bytes, base: str
) -> None:
    headers = {"content-type": "application/json"}
    answer = client.post(f"{base}/chat/completions", content=body, headers=headers)
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}

"""Chat completions through OpenAI's SDK."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.gateway.light import Light
from tests.gateway.openai.conftest import CHAT, LONG, sdk_of


def ask(sdk: openai.OpenAI, **changes: Any) -> Any:
    """An answer of twelve tokens."""
    asked = {"model": "tiny", "messages": CHAT, "seed": 7, "max_tokens": 12, "extra_body": LONG}
    return sdk.chat.completions.create(**{**asked, **changes})


def text_of(answer: Any, choice: int = 0) -> str:
    return str(answer.choices[choice].message.content)


def test_an_answer_has_what_the_sdk_and_embers_sdk_expect(light: Light, base: str) -> None:
    with sdk_of(light, base=base) as sdk:
        answer = ask(sdk)
    assert (answer.object, answer.model) == ("chat.completion", "tiny")
    assert answer.id.startswith("chatcmpl-")
    assert answer.system_fingerprint == "fp_000000000000"
    assert answer.created > 1_700_000_000
    (choice,) = answer.choices
    assert (choice.index, choice.message.role, choice.finish_reason) == (0, "assistant", "length")
    assert choice.message.content
    assert (answer.usage.completion_tokens, answer.usage.total_tokens) == (
        12,
        answer.usage.prompt_tokens + 12,
    )


def test_the_same_seed_gives_the_same_text_and_another_another(sdk: openai.OpenAI) -> None:
    assert text_of(ask(sdk)) == text_of(ask(sdk))
    assert text_of(ask(sdk)) != text_of(ask(sdk, seed=8))
    assert text_of(ask(sdk, seed=-1)) == text_of(ask(sdk, seed=2**64 - 1))


@pytest.mark.parametrize("changes", [{}, {"n": 3}, {"logprobs": True, "top_logprobs": 2}, {"stop": ["ship"]}])
def test_a_stream_says_what_the_whole_answer_says(light: Light, base: str, changes: dict[str, Any]) -> None:
    with sdk_of(light, base=base) as sdk:
        whole = ask(sdk, **changes)
        chunks = list(ask(sdk, stream=True, stream_options={"include_usage": True}, **changes))
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])
    parts = [chunk.choices[0] for chunk in chunks[:-1]]
    for choice in whole.choices:
        own = [part for part in parts if part.index == choice.index]
        assert "".join(part.delta.content for part in own) == choice.message.content
        assert [part.finish_reason for part in own if part.finish_reason] == [choice.finish_reason]
        drawn = [token for part in own if part.logprobs for token in part.logprobs.content]
        assert drawn == (choice.logprobs.content if choice.logprobs else [])


def test_the_sdks_stream_helper_puts_an_answer_together(light: Light, base: str) -> None:
    with (
        sdk_of(light, base=base) as sdk,
        sdk.chat.completions.stream(
            model="tiny", messages=CHAT, seed=7, max_tokens=12, n=2, extra_body=LONG
        ) as stream,
    ):
        stream.until_done()
        final = stream.current_completion_snapshot
        whole = ask(sdk, n=2)
    assert [each.message.role for each in final.choices] == ["assistant", "assistant"]
    assert [text_of(final, n) for n in (0, 1)] == [text_of(whole, n) for n in (0, 1)]


def test_the_first_of_several_answers_has_the_seed_and_the_others_differ(sdk: openai.OpenAI) -> None:
    answer = ask(sdk, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    texts = [text_of(answer, n) for n in range(3)]
    assert texts[0] == text_of(ask(sdk))
    assert len(set(texts)) == 3
    assert answer.usage.completion_tokens == 36
    assert answer.usage.prompt_tokens == ask(sdk).usage.prompt_tokens


def test_an_answer_ends_before_a_stop_string(sdk: openai.OpenAI) -> None:
    text = text_of(ask(sdk))
    word = text.split()[4]
    cut = ask(sdk, stop=word)
    assert text_of(cut) == text[: text.index(word)]
    assert cut.choices[0].finish_reason == "stop"
    assert text_of(ask(sdk, stop=["<|eot_id|>", "<|begin_of_text|>"])) == text


def test_the_newer_name_of_the_largest_length_counts_before_the_older(sdk: openai.OpenAI) -> None:
    assert ask(sdk, max_tokens=9, max_completion_tokens=3).usage.completion_tokens == 3
    assert ask(sdk, max_tokens=None, max_completion_tokens=4).usage.completion_tokens == 4


def test_logprobs_are_of_the_drawn_token_and_the_likeliest(sdk: openai.OpenAI) -> None:
    answer = ask(sdk, logprobs=True, top_logprobs=3, temperature=0)
    tokens = answer.choices[0].logprobs.content
    assert len(tokens) == 12
    for token in tokens:
        assert bytes(token.bytes).decode() == token.token
        assert [each.logprob for each in token.top_logprobs] == sorted(
            (each.logprob for each in token.top_logprobs), reverse=True
        )
        assert token.top_logprobs[0].token == token.token  # at temperature 0 the likeliest is drawn
        assert token.logprob == token.top_logprobs[0].logprob < 0
    assert ask(sdk).choices[0].logprobs is None


def test_sampling_reaches_the_model(sdk: openai.OpenAI) -> None:
    likeliest = text_of(ask(sdk, temperature=0))
    assert likeliest == text_of(ask(sdk, temperature=0, seed=8))
    assert likeliest == text_of(ask(sdk, top_p=1e-6))
    assert likeliest == text_of(ask(sdk, extra_body={**LONG, "top_k": 1}))
    assert likeliest != text_of(ask(sdk))


def test_messages_may_come_in_parts_and_from_the_developer(sdk: openai.OpenAI) -> None:
    whole = [{"role": "system", "content": "the ship"}, {"role": "user", "content": "the sea"}]
    parts = [
        {
            "role": "developer",
            "content": [{"type": "text", "text": "the "}, {"type": "text", "text": "ship"}],
        },
        {"role": "user", "content": "the sea", "name": "ann"},
    ]
    assert text_of(ask(sdk, messages=whole)) == text_of(ask(sdk, messages=parts))


def test_an_answer_may_be_sent_back_as_the_sdk_returned_it(sdk: openai.OpenAI) -> None:
    answer = ask(sdk).choices[0].message
    assert text_of(ask(sdk, messages=[*CHAT, answer, {"role": "user", "content": "the ship"}]))


def test_what_changes_no_answer_is_ignored(sdk: openai.OpenAI) -> None:
    harmless = {
        "user": "ann",
        "store": False,
        "metadata": {"a": "b"},
        "service_tier": "auto",
        "presence_penalty": 0.0,
        "frequency_penalty": 0,
        "logit_bias": {},
        "response_format": {"type": "text"},
        "tools": [],
        "parallel_tool_calls": True,
    }
    assert text_of(ask(sdk, **harmless)) == text_of(ask(sdk))


async def test_the_asynchronous_sdk_answers_and_streams_alike(async_sdk: openai.AsyncOpenAI) -> None:
    asked: Any = {"model": "tiny", "messages": CHAT, "seed": 7, "max_tokens": 12, "extra_body": LONG}
    whole = await async_sdk.chat.completions.create(**asked)
    stream = await async_sdk.chat.completions.create(**asked, stream=True)
    parts = [chunk.choices[0].delta.content async for chunk in stream]
    assert "".join(parts) == whole.choices[0].message.content


def test_an_empty_name_means_the_first_model_and_an_alias_its_model(sdk: openai.OpenAI) -> None:
    assert ask(sdk, model="").model == ask(sdk, model="an-old-name").model == "tiny"

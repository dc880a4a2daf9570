"""OpenAI's older completions, from texts and from tokens."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.gateway.openai.conftest import LONG


def ask(sdk: openai.OpenAI, **changes: Any) -> Any:
    """A text of eight tokens."""
    asked = {"model": "tiny", "prompt": "the sea", "seed": 7, "max_tokens": 8, "extra_body": LONG}
    return sdk.completions.create(**{**asked, **changes})


def test_a_text_goes_on_from_its_prompt(sdk: openai.OpenAI) -> None:
    answer = ask(sdk)
    assert (answer.object, answer.model, answer.usage.completion_tokens) == ("text_completion", "tiny", 8)
    assert answer.choices[0].text
    assert answer.choices[0].finish_reason == "length"
    assert ask(sdk, max_tokens=None).usage.completion_tokens == 16


def test_each_prompt_has_its_own_answers_in_order(sdk: openai.OpenAI) -> None:
    together = ask(sdk, prompt=["the sea", "the ship"], n=2)
    assert [choice.index for choice in together.choices] == [0, 1, 2, 3]
    for number, prompt in enumerate(("the sea", "the ship")):
        alone = ask(sdk, prompt=prompt, n=2)
        assert [c.text for c in together.choices[2 * number : 2 * number + 2]] == [
            c.text for c in alone.choices
        ]
    assert together.usage.completion_tokens == 32


def test_token_ids_are_read_as_they_are(sdk: openai.OpenAI) -> None:
    one, several = ask(sdk, prompt=[10, 11, 12]), ask(sdk, prompt=[[10, 11, 12], [13]])
    assert one.usage.prompt_tokens == 3
    assert several.usage.prompt_tokens == 4
    assert several.choices[0].text == one.choices[0].text


def test_a_streamed_text_is_the_whole_text(sdk: openai.OpenAI) -> None:
    whole = ask(sdk, n=2, logprobs=2)
    chunks = list(ask(sdk, n=2, logprobs=2, stream=True))
    for choice in whole.choices:
        parts = [c.choices[0] for c in chunks if c.choices[0].index == choice.index]
        assert "".join(part.text for part in parts) == choice.text
        places = [place for part in parts if part.logprobs for place in part.logprobs.text_offset]
        assert places == choice.logprobs.text_offset


def test_logprobs_stand_at_the_places_of_their_tokens(sdk: openai.OpenAI) -> None:
    choice = ask(sdk, logprobs=3, temperature=0).choices[0]
    logprobs = choice.logprobs
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == len(logprobs.top_logprobs) == 8
    for token, logprob, top in zip(
        logprobs.tokens, logprobs.token_logprobs, logprobs.top_logprobs, strict=True
    ):
        assert top[token] == logprob == max(top.values())
    assert logprobs.text_offset[0] == 0
    assert ask(sdk, logprobs=0).choices[0].logprobs.top_logprobs == [{}] * 8


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"echo": True}, "echo"),
        ({"suffix": "the end"}, "suffix"),
        ({"best_of": 3}, "best_of"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["the sea", [10, 10_000]]}, "prompt"),
        ({"prompt": [[10], [10_000]]}, "prompt[1][0]"),
        ({"prompt": ["the sea"] * 65, "n": 2}, "n"),
    ],
)
def test_what_a_completion_cannot_have_is_refused_by_name(
    sdk: openai.OpenAI, changes: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(sdk, **changes)
    assert str(caught.value.param).startswith(param)


def test_best_of_as_many_as_are_returned_is_harmless(sdk: openai.OpenAI) -> None:
    assert ask(sdk, best_of=1, echo=False, suffix=None).choices[0].text == ask(sdk).choices[0].text

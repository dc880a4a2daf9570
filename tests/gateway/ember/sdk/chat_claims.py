"""Answers of a model, whole and streamed, under every kind of steering that the SDK can send."""

from __future__ import annotations

import json
from typing import Any

import goodfire
import pytest
from calls import (
    HELLO,
    MODEL,
    Steered,
    always,
    client,
    found,
    never,
    nudged,
    plain,
    say,
    steered,
    stream,
    text_of,
)
from claims import claim, slow_claim


@claim
def an_answer_comes_whole() -> None:
    answer = client.chat.completions.create(HELLO, MODEL, max_completion_tokens=8)
    assert answer.choices[0].message["role"] == "assistant"
    assert answer.choices[0].message["content"]
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.object == "chat.completion"
    assert answer.gf_event_names is None or answer.gf_event_names == []


@claim
def a_stream_says_what_the_whole_answer_says() -> None:
    chunks = stream()
    assert text_of(chunks) == plain()
    assert chunks[-1].choices[0].finish_reason in ("stop", "length")
    places = [chunk.choices[0].gf_token_index for chunk in chunks]
    assert places == sorted(set(places))


@slow_claim
def the_same_seed_gives_the_same_text() -> None:
    assert say(temperature=1, seed=7) == say(temperature=1, seed=7)


@claim
def the_text_that_the_sdk_splits_streams_at_survives() -> None:
    odd = [{"role": "user", "content": 'data: {"a": 1}\n\ndata: [DONE]'}]
    chunks = list(client.chat.completions.create(odd, MODEL, stream=True, max_completion_tokens=4))
    assert chunks


@slow_claim
def an_answer_ends_before_a_stop_string() -> None:
    whole = say(max_completion_tokens=12)
    word = whole.split()[1]
    assert say(max_completion_tokens=12, stop=word) == whole[: whole.index(word)]
    assert say(max_completion_tokens=12, stop=[word, "never said"]) == whole[: whole.index(word)]


@slow_claim
def no_system_prompt_is_another_prompt() -> None:
    assert isinstance(say(system_prompt=""), str)


@claim
def a_nudge_changes_the_text_and_a_variant_that_is_reset_does_not() -> None:
    variant = steered()
    assert nudged() != plain()
    assert text_of(stream(variant)) == nudged()
    variant.reset()
    assert say(variant) == plain()


@slow_claim
def two_features_are_set_at_once() -> None:
    variant = goodfire.Variant(MODEL)
    variant.set(found(3)[0, 1], 0.4)
    assert len(variant.controller.json()["interventions"]) == 2
    assert isinstance(say(variant), str)


@claim
def a_pin_and_a_factor_are_taken() -> None:
    by_hand = Steered()
    features = found(2)
    by_hand.controller[features[0]] = 2
    by_hand.controller[features[1]] *= 0
    assert [each["mode"] for each in by_hand.controller.json()["interventions"]] == ["pin", "mul"]
    assert isinstance(say(by_hand), str)


@slow_claim
def thresholds_of_entropy_and_strength_are_taken() -> None:
    by_hand = Steered()
    by_hand.controller[found(1)[0]] += 0.9
    by_hand.controller._min_nudge_entropy = 90.0
    by_hand.controller._nonzero_strength_threshold = 0.1
    assert say(by_hand) == plain()  # so uncertain is no token
    by_hand.controller._min_nudge_entropy, by_hand.controller._max_nudge_entropy = None, 90.0
    assert say(by_hand) == nudged()


@claim
def a_condition_that_always_holds_is_as_none_and_one_that_never_holds_as_no_edit() -> None:
    feature = found(1)[0]
    conditional = goodfire.Variant(MODEL)
    conditional.set_when(always(feature) & always(feature), {feature: 0.9})
    assert say(conditional) == nudged()
    conditional = goodfire.Variant(MODEL)
    conditional.set_when(goodfire.ConditionalGroup([never(feature)]), goodfire.FeatureEdits([(feature, 0.9)]))
    assert say(conditional) == plain()


@slow_claim
def conditions_are_joined_by_and_and_or_also_nested() -> None:
    feature = found(1)[0]
    for condition, holds in (
        (always(feature) & never(feature), False),
        (always(feature) | never(feature), True),
        (always(feature) & (always(feature) | never(feature)), True),
        (always(feature) & (never(feature) | never(feature)), False),
    ):
        variant = goodfire.Variant(MODEL)
        variant.set_when(condition, {feature: 0.9})
        assert say(variant) == (nudged() if holds else plain())


@slow_claim
def features_are_compared_with_features_and_by_every_operator() -> None:
    first, second = found(2)[0], found(2)[1]
    group = goodfire.FeatureGroup([first, second])
    by_hand = Steered()
    for condition in (
        first > second,
        first >= group,
        group < first,
        group <= 0.5,
        goodfire.FeatureGroup([first]) == 1,
        first != second,
        goodfire.Conditional(group, first, ">"),
    ):
        with by_hand.controller.when(condition):
            by_hand.controller[group] += 0.1
    assert len(by_hand.controller.json()["scopes"]) == 7
    assert isinstance(say(by_hand), str)


@slow_claim
def scopes_stand_in_scopes() -> None:
    feature = found(1)[0]
    by_hand = Steered()
    with by_hand.controller.when(always(feature)), by_hand.controller.when(always(feature)):
        by_hand.controller[feature] += 0.9
    assert by_hand.controller.json()["scopes"][0]["controller"]["scopes"]
    assert say(by_hand) == nudged()


@claim
def an_abort_raises_whole_and_streamed() -> None:
    variant = goodfire.Variant(MODEL)
    variant.abort_when(goodfire.ConditionalGroup([always(found(1)[0])]))
    with pytest.raises(goodfire.InferenceAbortedException, match="Aborted inference"):
        say(variant)
    with pytest.raises(goodfire.InferenceAbortedException, match="Aborted inference"):
        stream(variant)


@slow_claim
def an_abort_that_does_not_hold_changes_nothing() -> None:
    variant = goodfire.Variant(MODEL)
    variant.abort_when(goodfire.ConditionalGroup([never(found(1)[0])]))
    assert say(variant) == text_of(stream(variant)) == plain()


@claim
def a_handler_is_called_and_the_answer_goes_on() -> None:
    told: list[Any] = []
    variant = goodfire.Variant(MODEL)
    variant.handle_when(goodfire.ConditionalGroup([always(found(1)[0])]), told.append)
    assert say(variant) == plain()
    assert len(told) == 1  # the names of a whole answer are told once each
    assert told[0].response_so_far == plain()
    assert told[0].prompt[-1] == HELLO[0]


@slow_claim
def a_scope_that_tells_and_edits_does_both() -> None:
    feature = found(1)[0]
    by_hand = Steered()
    with by_hand.controller.when(always(feature)) as scope:
        by_hand.controller[feature] += 0.9
        scope.interrupt("seen")
    answer = client.chat.completions.create(HELLO, by_hand, max_completion_tokens=8, temperature=0)
    assert answer.gf_event_names == ["seen"]
    assert answer.choices[0].message["content"] == nudged()


@claim
def a_variant_is_saved_and_loaded() -> None:
    variant = steered()
    saved = json.dumps(variant.json())
    assert say(goodfire.Variant.from_json(saved)) == nudged()
    assert goodfire.Variant.from_json(json.loads(saved)).json() == variant.json()

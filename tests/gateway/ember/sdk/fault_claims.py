"""Faults of the SDK itself, and the ways round them that docs/ember.md names."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import goodfire
import pytest
from calls import (
    HELLO,
    MODEL,
    URL,
    WORDS,
    Steered,
    always,
    asynchronous,
    client,
    found,
    inspected,
    never,
    nudged,
    plain,
    say,
    stream,
    text_of,
)
from claims import claim, slow_claim
from goodfire.api import exceptions
from goodfire.controller.controller import Controller


@claim
async def an_error_of_an_asynchronous_stream_is_a_runtime_error() -> None:
    stranger = goodfire.AsyncClient("wrong", base_url=URL)
    chunks = await stranger.chat.completions.create(HELLO, MODEL, stream=True)
    with pytest.raises(RuntimeError, match="sync iterator on an async stream"):
        [chunk async for chunk in chunks]
    with pytest.raises(exceptions.UnauthorizedException):
        await stranger.chat.completions.create(HELLO, MODEL, max_completion_tokens=1)


@claim
async def an_event_in_an_asynchronous_stream_is_an_attribute_error_without_the_way_round() -> None:
    variant = goodfire.Variant(MODEL)
    feature = (await asynchronous.features.search(WORDS, MODEL))[0]
    variant.abort_when(goodfire.ConditionalGroup([always(feature)]))

    async def read() -> None:
        chunks = await asynchronous.chat.completions.create(
            HELLO, variant, stream=True, max_completion_tokens=4
        )
        [chunk async for chunk in chunks]

    with pytest.raises(AttributeError, match="'Variant' object has no attribute 'variant'"):
        await read()
    variant.variant = variant  # the way round
    with pytest.raises(goodfire.InferenceAbortedException):
        await read()


@slow_claim
def a_handler_is_called_twice_for_each_chunk_of_a_sync_stream() -> None:
    told: list[Any] = []
    variant = goodfire.Variant(MODEL)
    variant.handle_when(goodfire.ConditionalGroup([always(found(1)[0])]), told.append)
    chunks = stream(variant)
    assert text_of(chunks) == plain()
    told_of = [chunk for chunk in chunks if chunk.gf_event_names]
    assert len(told) == 2 * len(told_of) > 0
    assert told[0].response_so_far == told[1].response_so_far


@slow_claim
def a_conditional_variant_cannot_be_saved_but_its_controller_can() -> None:
    feature = found(1)[0]
    variant = goodfire.Variant(MODEL)
    variant.set_when(always(feature) & always(feature), {feature: 0.9})
    with pytest.raises(TypeError, match="not JSON serializable"):
        json.dumps(variant.json())
    with pytest.raises(TypeError):
        goodfire.Variant.from_json(variant.json())
    saved = json.dumps(variant.controller.json())
    loaded = Steered()
    loaded.controller = Controller.from_json(json.loads(saved))  # the way round
    assert say(loaded) == say(variant) == nudged()


@claim
def inspect_of_a_token_pairs_labels_and_activations_wrongly_where_a_label_is_missing() -> None:
    context = inspected()
    token = max(context.tokens, key=lambda each: len(each._feature_acts))
    first, second = token._feature_acts[:2]
    assert token.inspect(k=2)[1].activation == second["activation_strength"]
    label = context._features.pop(first["id"])  # as where the catalogue does not have it
    wrong = token.inspect(k=2)[0]
    context._features[first["id"]] = label
    assert wrong.feature.index_in_sae == second["index_in_sae"]
    assert wrong.activation == first["activation_strength"] != second["activation_strength"]
    right = {act["index_in_sae"]: act["activation_strength"] for act in token._feature_acts}  # the way round
    assert right[second["index_in_sae"]] == second["activation_strength"]


@slow_claim
def or_after_and_forgets_the_and() -> None:
    feature = found(1)[0]
    condition = (always(feature) & never(feature)) | never(feature)
    assert condition.operator == "OR"
    assert len(condition) == 3  # so it holds where either of the first two does
    variant = goodfire.Variant(MODEL)
    variant.set_when(never(feature) | (always(feature) & never(feature)), {feature: 0.9})  # the way round
    assert say(variant) == plain()


@claim
def similarity_is_in_the_order_of_rank_not_of_the_features() -> None:
    features = found(5)
    similar = asyncio.get_event_loop().run_until_complete(
        asynchronous.features.semantic_similarity(features, "cooking", MODEL)
    )
    order = client.features.rerank(features, "cooking", MODEL, top_k=5)  # the way round: they belong to these
    assert len(similar) == len(order) == 5


@claim
def the_sync_client_needs_an_event_loop_of_its_thread() -> None:
    loop = asyncio.get_event_loop()
    asyncio.set_event_loop(None)  # as asyncio.run leaves it
    try:
        with pytest.raises(RuntimeError, match="no current event loop"):
            client.features.search(WORDS, MODEL)
    finally:
        asyncio.set_event_loop(loop)  # the way round: asyncio.set_event_loop(asyncio.new_event_loop())
    assert len(client.features.search(WORDS, MODEL, top_k=1)) == 1


@claim
def the_quickstart_names_a_module_that_the_sdk_does_not_have() -> None:
    with pytest.raises(AttributeError, match="conditional"):
        goodfire.conditional.AutoConditional(WORDS, client=client, model=MODEL, num_features_to_use=5)

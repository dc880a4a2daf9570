"""The same routes through the asynchronous client."""

from __future__ import annotations

import asyncio

import goodfire
import pytest
from calls import ANSWERED, HELLO, JOKING, MODEL, WORDS, always, asynchronous, text_of
from claims import claim, slow_claim


@claim
async def asynchronous_answers_come_whole_and_streamed() -> None:
    whole = await asynchronous.chat.completions.create(HELLO, MODEL, max_completion_tokens=8, temperature=0)
    chunks = await asynchronous.chat.completions.create(
        HELLO, MODEL, stream=True, max_completion_tokens=8, temperature=0
    )
    assert text_of([chunk async for chunk in chunks]) == whole.choices[0].message["content"]


@claim
async def asynchronous_search_rerank_and_similarity() -> None:
    features = await asynchronous.features.search(WORDS, MODEL, top_k=20)
    best = await asynchronous.features.rerank(features, WORDS, MODEL, top_k=20)
    scores = await asynchronous.features.semantic_similarity(features, WORDS, MODEL)
    assert len(scores) == len(best) == len(features)
    assert scores == sorted(scores, reverse=True)
    assert all(-1.0001 <= score <= 1.0001 for score in scores)


@claim
async def asynchronous_neighbors_lookup_and_list() -> None:
    near = await asynchronous.features.neighbors((await asynchronous.features.search(WORDS, MODEL))[0], MODEL)
    looked_up = await asynchronous.features.lookup([feature.index_in_sae for feature in near], MODEL)
    assert [feature.label for feature in looked_up.values()] == [feature.label for feature in near]
    listed = await asynchronous.features._list([feature.uuid for feature in near])
    assert [str(feature.uuid) for feature in listed] == [feature.uuid for feature in near]


@claim
async def asynchronous_inspect_tokenize_and_activations() -> None:
    context = await asynchronous.features.inspect(ANSWERED, MODEL)
    tokens = await asynchronous.features._tokenize(ANSWERED, MODEL)
    assert [token._token for token in context.tokens] == tokens
    assert (await asynchronous.features.activations(ANSWERED, MODEL)).shape[0] == len(tokens)


@claim
async def asynchronous_contrast_attribute_and_logits() -> None:
    first, _ = await asynchronous.features.contrast([ANSWERED], [JOKING], MODEL)
    assert len(first)
    assert (await asynchronous.features.attribute(ANSWERED, 8, MODEL)).features
    assert (await asynchronous.chat.logits(HELLO, MODEL, top_k=2)).logits


@slow_claim
async def asynchronous_condition_and_data_set() -> None:
    condition, drafted = await asyncio.gather(
        asynchronous.features.AutoConditional(WORDS, MODEL),
        asynchronous.features.generate_contrastive_stimulus(f"write about {WORDS}"),
    )
    assert len(condition) == 1
    assert len(drafted) == 2


@claim
async def thirty_two_searches_run_together() -> None:
    searches = (asynchronous.features.search(f"{WORDS} {n}", MODEL) for n in range(32))
    assert all(len(features) for features in await asyncio.gather(*searches))


@claim
async def an_abort_raises_in_an_asynchronous_answer() -> None:
    variant = goodfire.Variant(MODEL)
    feature = (await asynchronous.features.search(WORDS, MODEL))[0]
    variant.abort_when(goodfire.ConditionalGroup([always(feature)]))
    with pytest.raises(goodfire.InferenceAbortedException):
        await asynchronous.chat.completions.create(HELLO, variant, max_completion_tokens=4)

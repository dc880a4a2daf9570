"""Every route of features, of activations and of what is made from words."""

from __future__ import annotations

import goodfire
import numpy as np
from calls import (
    ANSWERED,
    HELLO,
    JOKING,
    MODEL,
    WORDS,
    Steered,
    always,
    client,
    found,
    inspected,
    say,
    steered,
)
from claims import claim, slow_claim


@claim
def search_finds_up_to_a_hundred() -> None:
    assert len(found(1)) == 1
    many = client.features.search(WORDS, MODEL, top_k=100)
    assert 10 < len(many) <= 100
    assert len({feature.index_in_sae for feature in many}) == len(many)
    assert all(isinstance(feature.label, str) for feature in many)


@claim
def rerank_orders_what_was_found() -> None:
    features = found(10)
    best = client.features.rerank(features, "cooking", MODEL, top_k=4)
    assert len(best) == 4
    assert {each.uuid for each in best} <= {each.uuid for each in features}


@claim
def neighbors_of_one_and_of_a_group() -> None:
    features = found(3)
    assert len(client.features.neighbors(features[0], MODEL, top_k=5)) == 5
    near = client.features.neighbors(features, MODEL)
    assert len(near) == 10
    assert not {f.index_in_sae for f in near} & {f.index_in_sae for f in features}


@claim
def lookup_is_by_index() -> None:
    known = {feature.index_in_sae: feature.label for feature in found(3)}
    looked_up = client.features.lookup(list(known), MODEL)
    assert {index: feature.label for index, feature in looked_up.items()} == known
    assert client.features.lookup([], MODEL) == {}


@claim
def features_are_the_same_whichever_call_names_them() -> None:
    feature = found(1)[0]
    looked_up = client.features.lookup([feature.index_in_sae], MODEL)[feature.index_in_sae]
    assert str(feature.uuid) == looked_up.uuid
    hexadecimal = goodfire.Feature.from_json(feature.json())
    assert hexadecimal.uuid == feature.uuid
    with_hex = goodfire.Feature(feature.uuid.hex, feature.label, feature.index_in_sae)
    assert client.features.rerank(goodfire.FeatureGroup([with_hex]), "x", MODEL)[0].uuid == feature.uuid


@claim
def inspect_shows_tokens_and_their_features_with_labels() -> None:
    context = inspected()
    assert "sea" in str(context)
    busy = max(context.tokens, key=lambda token: len(token._feature_acts))
    acts = busy.inspect(k=3)
    values = [act.activation for act in acts]
    assert len(acts) == min(3, len(busy._feature_acts))
    assert values == sorted(values, reverse=True)
    assert [act.feature.index_in_sae for act in acts] == [a["index_in_sae"] for a in busy._feature_acts[:3]]
    assert set(context.lookup()) == {a["index_in_sae"] for t in context.tokens for a in t._feature_acts}
    assert len(context.top(k=5)) == 5
    assert context.top(k=5).vector().shape == (65536,)


@claim
def inspect_aggregates_in_four_ways() -> None:
    some = goodfire.FeatureGroup([act.feature for act in inspected().top(k=3)])
    by = {
        way: client.features.inspect(ANSWERED, MODEL, some, aggregate_by=way).top(k=3)
        for way in ("frequency", "mean", "max", "sum")
    }
    assert all(len(top) == 3 for top in by.values())
    assert all(float(act.activation).is_integer() for act in by["frequency"])


@claim
def inspect_of_named_features_shows_no_others() -> None:
    whole = inspected()
    some = goodfire.FeatureGroup([act.feature for act in whole.top(k=3)])
    context = client.features.inspect(ANSWERED, MODEL, features=some)
    shown = {act["index_in_sae"] for token in context.tokens for act in token._feature_acts}
    assert shown == {feature.index_in_sae for feature in some}
    single = client.features.inspect(ANSWERED, MODEL, features=some[0])
    assert len(single.top()) == 1


@claim
def inspect_under_edits_shows_the_edited_stream() -> None:
    feature = inspected().top(k=1)[0].feature
    by_hand = Steered()
    by_hand.controller[feature] = 3
    plain = client.features.inspect(ANSWERED, MODEL, features=feature)
    edited = client.features.inspect(ANSWERED, by_hand, features=feature, _fetch_feature_data=False)
    assert edited.matrix().max() > plain.matrix().max()


@claim
def activations_are_a_matrix_of_tokens_and_features() -> None:
    matrix = client.features.activations(ANSWERED, MODEL)
    assert matrix.shape == (len(inspected().tokens), 65536)
    assert np.isfinite(matrix).all()
    assert matrix.max() > 0


@claim
def a_variant_with_handlers_is_inspected_too() -> None:
    variant = steered(0.1)
    variant.abort_when(goodfire.ConditionalGroup([always(found(1)[0])]))
    assert client.features.inspect(ANSWERED, variant).tokens
    assert client.chat.logits(ANSWERED, variant).logits


@claim
def contrast_tells_two_sets_apart() -> None:
    plain, joking = client.features.contrast([ANSWERED], [JOKING], MODEL, top_k=4)
    assert 0 < len(plain) <= 4
    assert 0 < len(joking) <= 4
    assert not {f.index_in_sae for f in plain} & {f.index_in_sae for f in joking}
    swapped = client.features.contrast([JOKING], [ANSWERED], MODEL, top_k=4)
    assert [f.uuid for f in swapped[0]] == [f.uuid for f in joking]


@slow_claim
def contrast_takes_64_pairs() -> None:
    first, second = client.features.contrast([ANSWERED] * 64, [JOKING] * 64, MODEL, top_k=1)
    assert len(first) == len(second) == 1


@claim
def attribution_names_features_and_places() -> None:
    tokens = len(inspected().tokens)
    attribution = client.features.attribute(ANSWERED, tokens - 4, MODEL)
    values = [each.value for each in attribution.features]
    assert values
    assert values == sorted(values, reverse=True)
    assert attribution.num_input_tokens == tokens
    assert all(each.feature is not None for each in attribution.features)
    assert all(place.index < tokens - 4 for each in attribution.features for place in each.token_activations)
    assert client.features.attribute(HELLO, -1, MODEL, _fetch_feature_data=False).features


@claim
def logits_are_by_token_largest_first() -> None:
    logits = client.chat.logits(ANSWERED, MODEL).logits
    values = list(logits.values())
    assert 1 < len(logits) <= 10
    assert values == sorted(values, reverse=True)
    assert len(client.chat.logits(HELLO, MODEL, top_k=3).logits) <= 3


@claim
def logits_of_named_tokens() -> None:
    best, *_ = client.chat.logits(HELLO, MODEL, top_k=1).logits.items()
    assert client.chat.logits(HELLO, MODEL, filter_vocabulary=[best[0]]).logits == dict([best])


@slow_claim
def a_condition_is_made_from_words() -> None:
    condition = client.features.AutoConditional(WORDS, MODEL)
    assert isinstance(condition, goodfire.ConditionalGroup)
    assert condition[0].operator == ">"
    assert condition[0].right_hand >= 0
    variant = goodfire.Variant(MODEL)
    variant.set_when(condition, {found(1)[0]: 0.5})
    assert isinstance(say(variant), str)


@slow_claim
def a_data_set_is_made_from_words_and_contrasts() -> None:
    without, with_it = client.features.generate_contrastive_stimulus(f"write about {WORDS}")
    assert len(without) == len(with_it) >= 1
    assert {message["role"] for chat in without + with_it for message in chat} <= {
        "user",
        "assistant",
        "system",
    }
    assert client.features.contrast(without, with_it, MODEL)[1]

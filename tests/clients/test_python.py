"""The Python client against real servers: each call of the facade answers what the API answers."""

from __future__ import annotations

import grpc
import pytest

from hearth_client import (
    Cancelled,
    ChatMessage,
    Client,
    Conflict,
    Feature,
    FeatureGroup,
    InferenceAborted,
    InferenceContext,
    InvalidRequest,
    Limits,
    Mesh,
    NotFound,
    Unavailable,
    Variant,
)
from hearth_client.v1 import feature_service_pb2, inference_service_pb2
from hearth_client.wire.generation import prompt
from hearth_client.wire.steering import steering
from tests.gateway.light import Light

HELLO: list[ChatMessage] = [{"role": "user", "content": "the cat stops"}]
ANSWERED: list[ChatMessage] = [*HELLO, {"role": "assistant", "content": "a dog stops"}]
ALWAYS = Feature(0) >= 0
"""A condition that holds at every token."""


def nudged(value: float = 0.9) -> Variant:
    variant = Variant()
    variant.set(Feature(3), value)
    return variant


def text(client: Client, variant: Variant | str = "", tokens: int = 12) -> str:
    answer = client.chat.completions.create(HELLO, variant, temperature=0, max_completion_tokens=tokens)
    return answer.text


def test_a_stream_is_the_whole_answer_in_pieces(client: Client) -> None:
    whole = client.chat.completions.create(HELLO, nudged(), seed=3, max_completion_tokens=12, report=True)
    chunks = list(
        client.chat.completions.create(
            HELLO, nudged(), seed=3, max_completion_tokens=12, report=True, stream=True
        )
    )
    assert "".join(each.choices[0].delta.content for each in chunks) == whole.text
    assert whole.text
    assert tuple(token for each in chunks for token in each.token_ids) == whole.token_ids
    assert [each.finish_reason for each in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].finished is not None
    assert chunks[-1].finished.report.edits[0].edit.feature.index == 3
    assert whole.choices[0].message == {"role": "assistant", "content": whole.text}
    assert whole.usage.completion_tokens == len(whole.token_ids)
    assert whole.seed == 3


def test_a_variants_edits_are_those_of_the_request(client: Client) -> None:
    by_hand = inference_service_pb2.GenerateRequest(
        prompt=prompt(HELLO),
        sampling=inference_service_pb2.Sampling(temperature=0, max_tokens=12),
    )
    by_hand.steering.edits.add(nudge=0.9).feature.index = 3
    events = client.stubs.InferenceService.Generate(by_hand, timeout=60, metadata=client.metadata)
    assert text(client, nudged()) == "".join(event.delta.text for event in events)
    assert text(client, nudged()) != text(client)


def test_leaving_a_stream_ends_the_generation(client: Client) -> None:
    with client.chat.completions.create(HELLO, max_completion_tokens=500, stream=True) as stream:
        first = next(stream)
    assert first.text or first.token_ids
    with pytest.raises(Cancelled):
        list(stream)


def test_an_abort_raises_and_ends_the_answer(client: Client) -> None:
    variant = nudged()
    variant.abort_when(ALWAYS, "enough")
    with pytest.raises(InferenceAborted, match="enough") as aborted:
        text(client, variant)
    assert aborted.value.response_so_far == ""


def test_a_handler_is_told_where_its_condition_holds_and_may_end_the_answer(client: Client) -> None:
    told: list[InferenceContext] = []
    variant = Variant(limits=Limits(positions="generated"))
    variant.handle_when(ALWAYS, told.append, event="always")
    whole = client.chat.completions.create(HELLO, variant, temperature=0, max_completion_tokens=5)
    assert [each.event for each in told] == ["always"] * len(whole.events)
    assert len(told) >= 4
    assert told[-1].response_so_far in whole.text
    positions = [each.position for each in told]
    assert positions == sorted(set(positions))

    def enough(context: InferenceContext) -> None:
        raise KeyError(context.event)

    variant.reset()
    variant.handle_when(ALWAYS, enough)
    with pytest.raises(KeyError):
        text(client, variant)


def test_search_finds_features_of_the_models_sae_best_first(light: Light, client: Client) -> None:
    found = client.features.search("feature 7", light.model, top_k=5)
    assert len(found) == 5
    assert {each.sae for each in found} == {light.sae}
    by_index = client.features.lookup([each.index_in_sae for each in found])
    assert list(by_index.values()) == list(found)
    assert all(each.label and each.uuid and each.scale > 0 for each in found)
    reranked = client.features.rerank(found, "feature 7", top_k=3)
    assert set(reranked) <= set(found)
    assert [each.relevance for each in reranked] == sorted(
        (each.relevance or 0 for each in reranked), reverse=True
    )
    dense = client.features.search("feature", which=feature_service_pb2.FeatureFilter(min_density=0.02))
    assert dense
    assert all(each.details and each.details.density >= 0.02 for each in dense)


def test_neighbours_are_others(client: Client) -> None:
    found = client.features.neighbors(Feature(2), top_k=4)
    assert len(found) == 4
    assert Feature(2, sae=found[0].sae) not in found


def test_inspect_names_tokens_and_what_is_active_in_activation_units(client: Client) -> None:
    seen = client.features.inspect(ANSWERED)
    stub = client.stubs.InferenceService
    request = inference_service_pb2.InspectRequest(prompt=prompt(ANSWERED))
    runs = list(stub.Inspect(request, timeout=60))
    assert [token.id for token in seen.tokens] == [token.id for run in runs for token in run.tokens]
    raw = {
        (row, index): value
        for run in runs
        for row in range(len(run.tokens))
        for index, value in zip(
            run.activations.indices[run.activations.starts[row] : run.activations.starts[row + 1]],
            run.activations.values[run.activations.starts[row] : run.activations.starts[row + 1]],
            strict=True,
        )
    }
    told = {
        (row, each.feature.index_in_sae): each.activation_strength * each.feature.scale
        for row, token in enumerate(seen.tokens)
        for each in token.activations
    }
    assert told == pytest.approx(raw)
    top = seen.top(3)
    assert top[0].activation_strength == max(
        a.activation_strength for t in seen.tokens for a in t.activations
    )
    counted = seen.top(100, aggregate_by="frequency")
    assert sum(each.activation_strength for each in counted) == len(raw)
    only = client.features.inspect(ANSWERED, features=top[0].feature)
    assert {a.feature for t in only.tokens for a in t.activations} == {top[0].feature}


def test_inspect_reads_the_stream_as_the_variant_edits_it(client: Client) -> None:
    variant = nudged(3)
    variant.abort_when(ALWAYS)  # of no use here, and left out
    plain, edited = client.features.inspect(HELLO), client.features.inspect(HELLO, variant)
    assert plain != edited
    assert [t.text for t in plain.tokens] == [t.text for t in edited.tokens]


def test_contrast_unpacks_into_the_features_of_both_sets(client: Client) -> None:
    dogs: list[list[ChatMessage]] = [
        [{"role": "user", "content": f"dog {n}"}, {"role": "assistant", "content": f"the dog {n} stops"}]
        for n in range(4)
    ]
    cats: list[list[ChatMessage]] = [
        [{"role": "user", "content": f"cat {n}"}, {"role": "assistant", "content": f"a cat {n}"}]
        for n in range(4)
    ]
    contrast = client.features.contrast(cats, dogs, top_k=3)
    first, second = contrast
    assert first or second
    assert max(len(first), len(second)) <= 3
    assert not set(first) & set(second)
    for feature in first:
        assert contrast.statistics[feature].mean_positive < contrast.statistics[feature].mean_negative
    for feature in second:
        assert contrast.statistics[feature].mean_positive > contrast.statistics[feature].mean_negative


def test_attribute_explains_the_token_at_an_index(client: Client) -> None:
    tokens = client.features.inspect(ANSWERED).tokens
    attribution = client.features.attribute(ANSWERED, -1, top_k=4)
    assert attribution.target == tokens[-1].text
    effects = [abs(each.value) for each in attribution.features]
    assert effects == sorted(effects, reverse=True)
    assert 1 <= len(effects) <= 4
    with pytest.raises(IndexError, match="allowed: 1 to"):
        client.features.attribute(ANSWERED, len(tokens) + 1)


def test_logits_are_those_of_the_next_token(client: Client) -> None:
    logits = client.chat.logits(HELLO, top_k=7)
    assert list(logits.values()) == sorted(logits.values(), reverse=True)
    assert logits != client.chat.logits(HELLO, nudged(3), top_k=7)


def test_a_variant_survives_being_saved(client: Client) -> None:
    variant = Variant(
        "tiny",
        limits=Limits(positions="generated", max_delta=0.5, unit="raw", nonzero_strength_threshold=0.25),
    )
    variant.set(FeatureGroup([Feature(1, sae="relu"), Feature(2, sae="relu")]), 0.5)
    variant.set(Feature(4, sae="relu"), 0.25, mode="pin")
    condition = (Feature(5, sae="relu") > 0.5) & ~(Feature(6, sae="relu") <= Feature(7, sae="relu"))
    variant.set_when(condition | Feature(8, sae="relu").compared("!=", 0.0), {Feature(9, sae="relu"): -0.5})
    variant.abort_when(condition, "enough")
    variant.handle_when(condition, print, event="seen")
    saved = client.variants.create("pirate", variant, "talks like one")
    try:
        read = client.variants.get("pirate")
        assert steering(read.variant) == steering(variant)
        assert read.variant.base_model == "tiny"
        assert (read.id, read.etag) == (saved.id, saved.etag)
        assert client.variants.get(id=saved.id).name == "pirate"
        assert [each.id for each in client.variants.list()] == [saved.id]
        variant.clear(Feature(1, sae="relu"))
        updated = client.variants.update(read, variant)
        assert [each.feature.index_in_sae for each in updated.variant.edits] == [2, 4]
        with pytest.raises(Conflict) as stale:
            client.variants.update(read, variant)
        assert stale.value.reason == "ETAG_MISMATCH"
        saved = updated
    finally:
        assert client.variants.delete(saved).deleted
    with pytest.raises(NotFound):
        client.variants.get("pirate")


def test_variants_are_their_owners_alone(mesh: Mesh, client: Client) -> None:
    saved = client.variants.create("mine", nudged())
    with Client(mesh=mesh, owner="bob") as bob:
        assert bob.variants.list() == []
    client.variants.delete(saved)


def test_a_wrong_request_names_its_field(client: Client) -> None:
    variant = Variant()
    variant.set(Feature(3), 101)
    with pytest.raises(InvalidRequest) as refused:
        text(client, variant)
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.reason == "INVALID_FIELD"
    assert refused.value.field == "steering.edits[0].nudge"
    assert refused.value.violations[0].problem
    assert refused.value.request_id
    with pytest.raises(InvalidRequest, match="feature 9999 does not exist"):
        client.features.inspect(HELLO, features=Feature(9999))
    with pytest.raises(NotFound, match="nobody/nothing"):
        text(client, "nobody/nothing")


def test_a_server_that_is_not_there_is_unavailable(unused_tcp_port: int) -> None:
    with (
        Client(mesh=Mesh.behind(f"127.0.0.1:{unused_tcp_port}")) as away,
        pytest.raises(Unavailable) as refused,
    ):
        away.with_options(deadline=20).chat.completions.create(HELLO)
    assert refused.value.reason == ""


def test_models_are_those_served(light: Light, client: Client) -> None:
    [model] = client.models()
    assert (model.id, [sae.id for sae in model.saes]) == (light.model, [light.sae])

"""Ember's routes of tokens, activations and logits tell what inference tells, in the JSON that its SDK reads."""

from __future__ import annotations

import httpx
import pytest

from hearth.v1 import feature_service_pb2 as features_pb
from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import prompt_pb2
from tests.gateway.ember.asking import ANSWERED, BASE, HELLO, chat, post, said, search, tokens_of
from tests.gateway.light import Light


def test_tokenize_tells_the_template_and_the_text(client: httpx.Client) -> None:
    values = [token["value"] for token in post(client, "chat/tokenize", messages=ANSWERED)["tokens"]]
    assert values[0] == "<|im_start|>"
    assert "".join(values).count("<|im_end|>") == 2
    assert " bread" in values


def test_an_alias_names_a_model(client: httpx.Client) -> None:
    by_alias = post(client, "chat/tokenize", model="an-old-name", messages=HELLO)
    assert by_alias == post(client, "chat/tokenize", messages=HELLO)
    assert by_alias == post(client, "chat/tokenize", model="", messages=HELLO)


def test_compute_features_tells_activation_units_largest_first(light: Light, client: httpx.Client) -> None:
    tokens = post(client, "chat-attribution/compute-features", messages=ANSWERED)["tokens"]
    request = pb.InspectRequest(prompt=chat(ANSWERED))
    catalogue = light.gateway.services.features
    listed = said(light, catalogue.ListFeatures, features_pb.ListFeaturesRequest(sae=light.sae))
    known = {feature.key.index: feature for feature in listed.features}

    async def inspected() -> list[dict[int, float]]:
        rows: list[dict[int, float]] = []
        async for run in light.gateway.services.inference.Inspect(request):
            sparse = run.activations
            for start, end in zip(sparse.starts, sparse.starts[1:], strict=False):
                rows.append(dict(zip(sparse.indices[start:end], sparse.values[start:end], strict=True)))
        return rows

    has_scales = light.call(light.gateway.models.find("tiny")).saes[0].has_scales
    assert [token["token"] for token in tokens] == [
        t.piece.decode() for t in tokens_of(light, ANSWERED).tokens
    ]
    for token, row in zip(tokens, light.call(inspected()), strict=True):
        strengths = [each["activation_strength"] for each in token["attributions"]]
        assert strengths == sorted(strengths, reverse=True)
        assert {each["index_in_sae"] for each in token["attributions"]} == set(row)
        for each in token["attributions"]:
            feature = known[each["index_in_sae"]]
            scale = feature.scale if has_scales else 1.0
            assert each["id"] == feature.id
            assert each["activation_strength"] == pytest.approx(row[feature.key.index] / scale, abs=1e-4)


@pytest.mark.parametrize("way", ["count", "mean", "max", "sum"])
def test_compute_features_of_some_features_whatever_is_aggregated(client: httpx.Client, way: str) -> None:
    body = {"messages": ANSWERED, "aggregate_by": way, "controller": None}
    whole = post(client, "chat-attribution/compute-features", **body)["tokens"]
    one = next(token["attributions"][0] for token in whole if token["attributions"])["index_in_sae"]
    some = post(client, "chat-attribution/compute-features", include_feature_indexes=[one], **body)["tokens"]
    assert [[each for each in token["attributions"] if each["index_in_sae"] == one] for token in whole] == [
        token["attributions"] for token in some
    ]


def test_logits_go_on_from_what_the_assistant_said(light: Light, client: httpx.Client) -> None:
    logits = post(client, "chat-attribution/compute-logits", messages=ANSWERED, top_k=7)["logits"]
    tokenized = tokens_of(light, ANSWERED)
    ids = [token.id for token in tokenized.tokens][: tokenized.spans[-1].content_end]
    prompt = prompt_pb2.Prompt(token_ids=prompt_pb2.TokenIds(ids=ids))
    asked = pb.ComputeLogitsRequest(prompt=prompt, top_k=7)
    answer = said(light, light.gateway.services.inference.ComputeLogits, asked)
    assert list(logits.items()) == [(each.token.piece.decode(), each.logit) for each in answer.top]


def test_logits_begin_an_answer_to_what_the_user_said(light: Light, client: httpx.Client) -> None:
    logits = post(client, "chat-attribution/compute-logits", messages=HELLO, top_k=3)["logits"]
    asked = pb.ComputeLogitsRequest(prompt=chat(HELLO), top_k=3)
    answer = said(light, light.gateway.services.inference.ComputeLogits, asked)
    assert list(logits.items()) == [(each.token.piece.decode(), each.logit) for each in answer.top]


def test_logits_of_named_words_are_theirs_and_cut_to_the_best(client: httpx.Client) -> None:
    route, asked = "chat-attribution/compute-logits", {"messages": HELLO, "top_k": None}
    everything = post(client, route, **asked)["logits"]
    named = post(client, route, filter_vocabulary=["ship", " sea", "ship"], **asked)["logits"]
    assert named == {"ship": everything[" ship"], " sea": everything[" sea"]}
    best = post(client, route, messages=HELLO, filter_vocabulary=["ship", "sea"], top_k=1)["logits"]
    assert list(best.values()) == [max(named.values())]


def test_steered_logits_differ_and_events_are_left_out(client: httpx.Client) -> None:
    feature = search(client)[0]
    group = {"features": [{"uuid": feature["id"], "label": "", "index_in_sae": feature["index_in_sae"]}]}
    always = {"conditionals": [{"left_hand": group, "operator": ">=", "right_hand": 0}], "operator": "AND"}
    controller = {
        "interventions": [{"mode": "nudge", "features": group, "value": 1.0}],
        "scopes": [{"conditionals": always, "controller": {}, "is_active": False, "event_name": "seen"}],
    }
    route = "chat-attribution/compute-logits"
    steered = post(client, route, messages=HELLO, controller=controller)["logits"]
    assert steered != post(client, route, messages=HELLO)["logits"]
    assert post(client, "chat-attribution/compute-features", messages=HELLO, controller=controller)["tokens"]


def test_contrast_tells_each_set_s_features_as_many_as_asked_for(client: httpx.Client) -> None:
    sets = {"dataset_1": [HELLO, HELLO], "dataset_2": [ANSWERED]}
    told = post(client, "chat-attribution/contrast", k_to_add=2, k_to_remove=3, **sets)
    assert len(told["dataset_1_features"]) <= 3
    assert len(told["dataset_2_features"]) <= 2
    turned = {"dataset_1": [ANSWERED], "dataset_2": [HELLO, HELLO]}
    swapped = post(client, "chat-attribution/contrast", k_to_add=3, k_to_remove=2, **turned)
    assert swapped["dataset_2_features"] == told["dataset_1_features"]
    assert {"id", "label", "index_in_sae"} == set(swapped["dataset_2_features"][0])


def test_attribution_explains_the_token_at_the_index(light: Light, client: httpx.Client) -> None:
    ids = [token.id for token in tokens_of(light, ANSWERED).tokens]
    body = {"messages": ANSWERED, "startIndex": 5, "endIndex": 5}
    told = post(client, "attributions/compute-logit-attribution", **body)
    prompt = prompt_pb2.Prompt(token_ids=prompt_pb2.TokenIds(ids=ids[:5]))
    asked = pb.AttributeRequest(prompt=prompt, target_token=ids[5])
    answer = said(light, light.gateway.services.inference.Attribute, asked)
    assert told["num_input_tokens"] == len(ids)
    assert [(each["index_in_sae"], each["value"]) for each in told["to_ablate"]] == [
        (each.index, each.effect) for each in answer.features
    ]
    assert all(place["index"] < 5 for each in told["to_ablate"] for place in each["tokens"])
    from_the_end = {"messages": ANSWERED, "startIndex": 5 - len(ids), "endIndex": 5 - len(ids)}
    assert post(client, "attributions/compute-logit-attribution", **from_the_end) == told


def test_attribution_one_past_the_end_explains_what_the_model_would_say(
    light: Light, client: httpx.Client
) -> None:
    size = len(post(client, "chat/tokenize", messages=ANSWERED)["tokens"])
    body = {"messages": ANSWERED, "startIndex": size, "endIndex": size}
    assert post(client, "attributions/compute-logit-attribution", **body)["to_ablate"]
    for index in (0, size + 1, -size - 1):
        wrong = {"model": "tiny", "messages": ANSWERED, "startIndex": index, "endIndex": index}
        answer = client.post(f"{BASE}/attributions/compute-logit-attribution", json=wrong)
        assert (answer.status_code, answer.json()["field"]) == (400, "startIndex")

"""What Ember's routes refuse: with which status, naming which field, telling nothing of what is inside."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest

from tests.gateway.ember.asking import ANSWERED, BASE, HELLO
from tests.gateway.light import Light

BODIES: dict[str, dict[str, Any]] = {
    "chat/tokenize": {"messages": HELLO},
    "chat-attribution/compute-features": {"messages": HELLO},
    "chat-attribution/compute-logits": {"messages": HELLO},
    "chat-attribution/contrast": {"dataset_1": [HELLO], "dataset_2": [ANSWERED]},
    "attributions/compute-logit-attribution": {"messages": HELLO, "startIndex": 2, "endIndex": 2},
    "attributions/neighbors": {"feature_indices": [1]},
    "attributions/generate-contrastive-dataset": {"specification": "ships"},
    "features/rerank": {"query": "ships", "feature_ids": [str(uuid.UUID(int=1))]},
    "features/lookup": {"indices": [1]},
    "features/auto-edits": {"specification": "ships"},
    "features/auto-conditional": {"specification": "ships"},
}


@pytest.mark.parametrize("route", BODIES)
def test_every_route_wants_a_key_and_a_model_that_is_served(light: Light, route: str) -> None:
    url, body = f"{BASE}/{route}", BODIES[route]
    for key in ("", "nobody"):
        refused = light.client(key).post(url, json=body | {"model": "tiny"})
        assert refused.status_code == 401
        assert refused.json()["field"] is None
    unknown = light.client().post(url, json=body | {"model": "nobody/nothing"})
    assert unknown.status_code == 404
    assert unknown.json()["field"] == "model"


@pytest.mark.parametrize(
    ("route", "change", "field"),
    [
        ("chat/tokenize", {"messages": []}, "messages"),
        ("chat/tokenize", {"messages": HELLO * 129}, "messages"),
        ("chat/tokenize", {"messages": [{"role": "robot", "content": ""}]}, "messages[0].role"),
        (
            "chat-attribution/compute-features",
            {"include_feature_indexes": [0] * 513},
            "include_feature_indexes",
        ),
        ("chat-attribution/compute-features", {"include_feature_indexes": [4000]}, None),
        ("chat-attribution/compute-features", {"aggregate_by": "median"}, "aggregate_by"),
        ("chat-attribution/compute-features", {"controller": {"interventions": [{}]}}, None),
        ("chat-attribution/compute-logits", {"top_k": 0}, "top_k"),
        ("chat-attribution/compute-logits", {"filter_vocabulary": ["the ship"]}, "filter_vocabulary[0]"),
        ("chat-attribution/compute-logits", {"filter_vocabulary": ["ship", ""]}, "filter_vocabulary[1]"),
        ("chat-attribution/contrast", {"dataset_1": []}, "dataset_1"),
        ("chat-attribution/contrast", {"dataset_2": [HELLO] * 65}, "dataset_2"),
        ("attributions/compute-logit-attribution", {"endIndex": 3}, "endIndex"),
        ("attributions/neighbors", {"feature_indices": [1] * 2049}, "feature_indices"),
        ("attributions/neighbors", {"top_k": 1001}, "top_k"),
        ("features/rerank", {"feature_ids": ["not a UUID"]}, "feature_ids[0]"),
        ("features/lookup", {"indices": [4000]}, None),
        ("features/lookup", {"indices": [-1]}, "indices[0]"),
        ("features/auto-edits", {"specification": "x" * 2001}, "spec.behavior"),
        ("features/auto-conditional", {"specification": ""}, None),
        ("attributions/generate-contrastive-dataset", {"specification": ""}, "behavior"),
    ],
)
def test_what_is_not_allowed_is_400_and_names_the_field(
    client: httpx.Client, route: str, change: dict[str, Any], field: str | None
) -> None:
    refused = client.post(f"{BASE}/{route}", json={"model": "tiny"} | BODIES[route] | change)
    assert refused.status_code == 400, refused.text
    assert refused.json()["detail"]
    assert field in (None, refused.json()["field"])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"query": ""},
        {"query": "x", "perPage": 101},
        {"query": "x", "perPage": 0},
        {"query": "x", "page": 0},
    ],
)
def test_a_search_that_is_not_allowed_is_400(client: httpx.Client, options: dict[str, Any]) -> None:
    refused = client.get(f"{BASE}/features/search", params={"model": "tiny"} | options)
    assert refused.status_code == 400
    assert refused.json()["field"]


def test_tokens_that_were_read_count_against_the_day_s_quota(light: Light) -> None:
    poor = light.client(light.key("poor", tokens_per_day=1))
    body = {"model": "tiny", "messages": HELLO}
    assert poor.post(f"{BASE}/chat-attribution/compute-features", json=body).status_code == 200
    refused = poor.post(f"{BASE}/chat-attribution/compute-features", json=body)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1


def test_without_inference_an_answer_is_503_and_says_nothing_of_what_is_inside(light: Light) -> None:
    with light.without_inference():
        refused = light.client().post(f"{BASE}/chat/tokenize", json={"model": "tiny", "messages": HELLO})
    assert refused.status_code == 503
    assert refused.headers["retry-after"]
    assert "127.0.0.1" not in refused.text

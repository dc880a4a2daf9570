"""Chunks at Ember's path, where its SDK needs more than OpenAI's contract."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.gateway.light import Light
from tests.gateway.openai.conftest import CHAT

ASKED = {
    "model": "tiny",
    "messages": CHAT,
    "stop": ["<|eot_id|>", "<|begin_of_text|>"],
    "seed": 42,
    "max_completion_tokens": 12,
    "top_p": 0.9,
    "temperature": 0.6,
    "controller": {
        "interventions": [],
        "scopes": [],
        "name": "controller__1",
        "nonzero_strength_threshold": None,
        "min_nudge_entropy": None,
        "max_nudge_entropy": None,
    },
    "ignore_eos": True,
}


def chunks_of(client: httpx.Client, **changes: Any) -> list[dict[str, Any]]:
    """The chunks, split as Ember's SDK does."""
    answer = client.post("/api/inference/v1/chat/completions", json={**ASKED, "stream": True, **changes})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [each.strip() for each in answer.text.split("data: ") if each]
    assert events.pop() == "[DONE]"
    return [json.loads(each) for each in events]


def test_every_chunk_has_role_content_and_a_place_of_its_own(client: httpx.Client) -> None:
    chunks = chunks_of(client)
    places = [chunk["choices"][0]["gf_token_index"] for chunk in chunks]
    assert places == sorted(set(places))
    assert places[0] == 0
    for chunk in chunks:
        assert {"object", "id", "created", "model", "system_fingerprint"} <= set(chunk)
        (choice,) = chunk["choices"]
        assert choice["index"] == 0
        assert choice["delta"]["role"] == "assistant"
        assert isinstance(choice["delta"]["content"], str)
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


def test_a_stream_and_a_whole_answer_agree_and_null_means_unset(client: httpx.Client) -> None:
    nothing = {"stop": None, "max_completion_tokens": None, "seed": None, "controller": None}
    answer = client.post("/api/inference/v1/chat/completions", json={**ASKED, "stream": False})
    text = answer.json()["choices"][0]["message"]["content"]
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks_of(client)) == text
    limited = {**ASKED, **nothing, "max_tokens": 3, "stream": False}
    assert client.post("/api/inference/v1/chat/completions", json=limited).status_code == 200


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_events_of_scopes_stand_in_the_chunk_of_their_token(light: Light, value: float) -> None:
    feature = {"uuid": "0" * 32, "label": "a", "index_in_sae": 3, "max_activation_strength": 1}
    scope = {
        "conditionals": {
            "conditionals": [{"left_hand": {"features": [feature]}, "operator": ">=", "right_hand": value}],
            "operator": "AND",
        },
        "controller": {"interventions": [], "scopes": []},
        "is_active": False,
        "event_name": "seen",
    }
    controller = {"interventions": [], "scopes": [scope]}
    client = light.client()
    chunks = chunks_of(client, controller=controller)
    named = [chunk for chunk in chunks if chunk["gf_event_names"]]
    assert all(chunk["gf_event_names"] == ["seen"] for chunk in named)
    whole = client.post("/api/inference/v1/chat/completions", json={**ASKED, "controller": controller}).json()
    assert whole["gf_event_names"] == (["seen"] if named else None)
    if value == 0:
        assert len(named) >= 12  # an activation is never negative, so at each token

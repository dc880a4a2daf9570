"""The REST API over real services: each route, streams, owners, quotas."""

from __future__ import annotations

import json
import uuid
from typing import Any

import httpx
import pytest

from tests.gateway.light import Light

BASE = "/hearth/v1"


def edits(feature: int, value: float | str) -> dict[str, Any]:
    """A steering of one nudge."""
    return {"edits": [{"feature": {"index": feature}, "nudge": value}]}


NUDGE = edits(3, 0.4)
TEXT = {"text": "tell me of the sea"}
SAMPLING = {"maxTokens": 4, "seed": "5", "temperature": 0, "ignoreEnd": True}


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    """The data of all events."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]


def ids(answer: httpx.Response) -> list[int]:
    """The ids of all events."""
    return [int(line[4:]) for line in answer.text.splitlines() if line.startswith("id: ")]


@pytest.fixture
def ann(light: Light) -> httpx.Client:
    return light.client(light.key(f"ann-{uuid.uuid4()}"))


@pytest.fixture
def bob(light: Light) -> httpx.Client:
    return light.client(light.key(f"bob-{uuid.uuid4()}"))


@pytest.mark.parametrize(
    ("path", "body", "has"),
    [
        ("/tokenize", {"prompt": TEXT}, "tokens"),
        ("/logits", {"prompt": TEXT, "steering": NUDGE, "topK": 2}, "top"),
        ("/score-texts", {"continuations": [{"prompt": TEXT, "text": "the sea"}]}, "scores"),
        ("/batch-inspect", {"prompts": [TEXT], "topK": 3}, "activations"),
        ("/attribute", {"prompt": TEXT, "topK": 3}, "features"),
        ("/contrast", {"positive": [TEXT], "negative": [{"text": "the king"}]}, "positive"),
        ("/features/search", {"query": "winter weather"}, "hits"),
        ("/features/rerank", {"query": "winter", "keys": [{"index": 1}, {"index": 2}]}, "hits"),
        ("/features/neighbors", {"keys": [{"index": 1}], "topK": 2}, "hits"),
        ("/features/batch-get", {"keys": [{"index": 1}]}, "features"),
        ("/autosteer/draft-contrast", {"behavior": "talk of the sea", "count": 2}, "positive"),
    ],
)
def test_a_call_is_answered_with_its_message(client: httpx.Client, path: str, body: Any, has: str) -> None:
    answer = client.post(BASE + path, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()[has]


def test_lists_and_single_features(client: httpx.Client) -> None:
    assert client.get(f"{BASE}/models").json()["models"][0]["id"] == "tiny"
    assert client.get(f"{BASE}/catalogs").json()["catalogs"][0]["featureCount"] == 40
    page = client.get(f"{BASE}/features", params={"pageSize": 2, "filter.minDensity": "0.01"}).json()
    assert [each["key"]["index"] for each in page["features"]] == [9, 10]
    one = client.get(f"{BASE}/features/by-index", params={"index": 9}).json()["feature"]
    assert client.get(f"{BASE}/features/{one['id']}").json()["feature"] == one
    assert client.get(f"{BASE}/features/{one['id']}/revisions").json()["revisions"] == []


def test_a_label_is_contested_once_and_an_old_etag_is_refused(client: httpx.Client) -> None:
    key = {"sae": "relu", "index": 39}
    before = client.get(f"{BASE}/features/by-index", params={"index": 39}).json()["feature"]
    body = {"feature": {"key": key, "label": "deep sea"}, "updateMask": "label", "etag": before["etag"]}
    assert client.patch(f"{BASE}/features", json=body).json()["feature"]["label"] == "deep sea"
    refused = client.patch(f"{BASE}/features", json=body | {"note": "again"})
    assert refused.status_code == 409
    assert refused.json()["error"]["reason"] == "ETAG_MISMATCH"


def test_a_generation_streams_and_ends_with_report_and_receipt(client: httpx.Client) -> None:
    body = {"prompt": TEXT, "steering": NUDGE, "sampling": SAMPLING, "report": True, "receipt": True}
    first, *rest, last = events(client.post(f"{BASE}/generate", json=body))
    assert first["started"]["seed"] == "5"
    assert sum(len(each["delta"]["tokenIds"]) for each in rest if "delta" in each) == 4
    text = "".join(each["delta"]["text"] for each in rest if "delta" in each)
    assert last["finished"]["receipt"]["text"] == text
    assert last["finished"]["report"]["edits"][0]["requested"]["strength"] == pytest.approx(0.4)
    assert events(client.post(f"{BASE}/generate", json=body))[-1]["finished"]["receipt"]["text"] == text


def test_an_inspection_streams_runs_of_tokens(client: httpx.Client) -> None:
    (run,) = events(client.post(f"{BASE}/inspect", json={"prompt": TEXT, "topK": 2}))
    assert len(run["activations"]["starts"]) == len(run["tokens"]) + 1 == run["promptTokens"] + 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "prompt"),
        ({"prompt": TEXT, "steering": edits(40, 1)}, "steering.edits[0].feature.index"),
        ({"prompt": TEXT, "steering": edits(1, "NaN")}, "steering.edits[0].nudge"),
        ({"prompt": TEXT, "sampling": {"temperature": -1}}, "sampling.temperature"),
        ({"prompt": TEXT, "sampling": {"temperature": "x"}}, "sampling.temperature"),
    ],
)
def test_what_is_wrong_is_named_before_a_stream_begins(client: httpx.Client, body: Any, field: str) -> None:
    answer = client.post(f"{BASE}/generate", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["field_violations"][0]["field"] == field


def test_a_variant_is_made_changed_put_aside_and_brought_back(ann: httpx.Client) -> None:
    request = {"variant": {"name": "sea", "steering": NUDGE}, "requestId": str(uuid.uuid4())}
    made = ann.post(f"{BASE}/variants", json=request).json()["variant"]
    assert ann.post(f"{BASE}/variants", json=request).json()["variant"] == made
    path = f"{BASE}/variants/{made['id']}"
    changed = ann.patch(
        path, json={"variant": {"name": "deep sea"}, "updateMask": "name", "etag": made["etag"]}
    )
    assert changed.json()["variant"]["name"] == "deep sea"
    assert ann.delete(path, params={"etag": made["etag"]}).status_code == 409
    assert ann.get(f"{BASE}/variants/by-name", params={"name": "deep sea"}).json() == ann.get(path).json()
    assert "deleteTime" in ann.delete(path).json()["variant"]
    assert ann.get(f"{BASE}/variants").json()["variants"] == []
    assert len(ann.get(f"{BASE}/variants", params={"showDeleted": "true"}).json()["variants"]) == 1
    assert ann.post(f"{path}/undelete").json()["variant"]["name"] == "deep sea"


def test_a_jobs_events_can_be_taken_up_again(ann: httpx.Client) -> None:
    spec = {"behavior": "talk of the sea", "budget": "10s", "tier": "AUTO_STEER_TIER_QUICK"}
    job = ann.post(f"{BASE}/autosteer/jobs", json={"spec": spec}).json()["job"]
    path = f"{BASE}/autosteer/jobs/{job['id']}"
    with ann.stream("GET", f"{path}/events") as stream:
        lines = stream.iter_lines()
        while not next(lines).startswith("id: 1"):
            pass
    assert ann.post(f"{path}/cancel").json()["job"]["state"] == "AUTO_STEER_STATE_CANCELLED"
    whole = ann.get(f"{path}/events")
    last = len(ids(whole))
    assert ids(whole) == list(range(1, last + 1))
    assert events(whole)[-1]["ended"]["state"] == "AUTO_STEER_STATE_CANCELLED"
    assert ids(ann.get(f"{path}/events", params={"after": 1})) == list(range(2, last + 1))
    resumed = ann.get(f"{path}/events", params={"after": 1}, headers={"Last-Event-ID": str(last - 1)})
    assert ids(resumed) == [last]
    assert ann.get(f"{path}/events", headers={"Last-Event-ID": str(last)}).status_code == 204
    wrong = ann.get(f"{path}/events", headers={"Last-Event-ID": "x"})
    assert wrong.json()["error"]["field_violations"][0]["field"] == "Last-Event-ID"
    assert ann.get(path).json()["job"]["lastSequence"] == str(last)
    assert [each["id"] for each in ann.get(f"{BASE}/autosteer/jobs").json()["jobs"]] == [job["id"]]


def test_what_belongs_to_another_owner_is_as_if_it_were_not_there(
    ann: httpx.Client, bob: httpx.Client
) -> None:
    variant = ann.post(f"{BASE}/variants", json={"variant": {"name": "mine", "steering": NUDGE}}).json()[
        "variant"
    ]
    spec = {"behavior": "talk of the sea", "budget": "10s", "tier": "AUTO_STEER_TIER_QUICK"}
    job = ann.post(f"{BASE}/autosteer/jobs", json={"spec": spec}).json()["job"]
    ann.post(f"{BASE}/autosteer/jobs/{job['id']}/cancel")
    unknown = str(uuid.uuid4())

    def tries(kind: str, own_id: str) -> list[tuple[int, str]]:
        path = f"{BASE}/{kind}/{own_id}"
        answers = [bob.get(path)]
        if kind == "variants":
            change = {"variant": {"name": "theirs"}, "updateMask": "name"}
            answers += [bob.patch(path, json=change), bob.delete(path), bob.post(f"{path}/undelete")]
        else:
            answers += [bob.post(f"{path}/cancel"), bob.get(f"{path}/events")]
        return [(each.status_code, each.text.replace(own_id, "")) for each in answers]

    for kind, own in (("variants", variant["id"]), ("autosteer/jobs", job["id"])):
        assert tries(kind, own) == tries(kind, unknown)
        assert {status for status, _ in tries(kind, own)} == {404}
    assert bob.get(f"{BASE}/variants/by-name", params={"name": "mine"}).status_code == 404
    assert bob.get(f"{BASE}/variants").json()["variants"] == []
    assert bob.get(f"{BASE}/autosteer/jobs").json()["jobs"] == []


@pytest.mark.parametrize("key", ["", "wrong", "hk-" + "0" * 43])
def test_without_a_key_that_opens_nothing_is_answered(light: Light, key: str) -> None:
    with httpx.Client(
        base_url=light.url, headers={"authorization": f"Bearer {key}"} if key else {}
    ) as nobody:
        for answer in (
            nobody.get(f"{BASE}/variants"),
            nobody.post(f"{BASE}/generate", content=b"{"),
            nobody.get(f"{BASE}/autosteer/jobs/{uuid.uuid4()}/events"),
        ):
            assert answer.status_code == 401
            assert answer.json()["error"]["reason"] == "KEY_REFUSED"


def test_tokens_count_against_the_keys_day(light: Light) -> None:
    client = light.client(light.key(f"cem-{uuid.uuid4()}", tokens_per_day=6))
    assert client.post(f"{BASE}/generate", json={"prompt": TEXT, "sampling": SAMPLING}).status_code == 200
    refused = client.post(f"{BASE}/generate", json={"prompt": TEXT, "sampling": SAMPLING})
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0

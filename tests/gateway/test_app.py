"""The gateway's edge: who may ask, how much, how long, and what every answer has."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.gateway.models import Models, ServedModel
from services.gateway.settings import GatewaySettings
from tests.gateway.light import Light, light_in

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "sea"}], "max_tokens": 4}
OPENAI, EMBER, OURS = "/v1/chat/completions", "/api/inference/v1/chat/tokenize", "/hearth/v1/tokenize"


def message_of(answer: httpx.Response) -> str:
    """What an error says, in whatever contract's shape."""
    body = answer.json()
    return str(body["detail"] if "detail" in body else body["error"]["message"])


def test_it_says_whether_all_services_serve(light: Light) -> None:
    client = light.client("")
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {
        "ready": True,
        "serving": {"keys": True, "inference": True, "features": True, "autosteer": True},
    }


def test_every_answer_has_the_security_headers_and_a_request_id(light: Light) -> None:
    client = light.client()
    for answer in (client.get("/healthz"), client.get("/nothing"), client.post(OPENAI, json=CHAT)):
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["x-request-id"]
    assert client.get("/healthz", headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert client.get("/healthz", headers={"x-request-id": "a b"}).headers["x-request-id"] != "a b"


@pytest.mark.parametrize("path", [OPENAI, EMBER, OURS])
def test_no_key_a_wrong_key_and_a_revoked_one_are_all_answered_alike(light: Light, path: str) -> None:
    revoked = light.key()
    light.call(light.keyring.revoke(revoked[:13]))
    answers = [light.client(key).post(path, json={}) for key in ("", "nonsense", revoked)]
    assert {answer.status_code for answer in answers} == {401}
    assert {answer.headers["www-authenticate"] for answer in answers} == {"Bearer"}
    assert len({answer.text for answer in answers}) == 1
    assert "no valid API key" in message_of(answers[0])


def test_errors_have_the_shape_of_the_contract_they_belong_to(light: Light) -> None:
    client = light.client()
    openai = client.post(OPENAI, json={**CHAT, "model": "nobody"})
    assert openai.status_code == 404
    assert openai.json()["error"]["code"] == "model_not_found"
    assert openai.json()["error"]["param"] == "model"
    ember = client.post(EMBER, json={**CHAT, "model": "nobody"})
    assert (ember.status_code, ember.json()["field"]) == (404, "model")
    ours = client.post(OURS, json={"model": "nobody", "prompt": {"text": "sea"}})
    assert ours.status_code == 404
    error = ours.json()["error"]
    assert (error["status"], error["reason"]) == ("NOT_FOUND", "MODEL_NOT_SERVED")
    assert client.get("/hearth/v1/nothing").json()["error"]["status"] == "NOT_FOUND"
    assert client.get("/api/inference/v1/nothing").json() == {"detail": "Not Found", "field": None}


def test_a_body_that_does_not_fit_is_refused_with_its_field(light: Light) -> None:
    answer = light.client().post(OPENAI, json={**CHAT, "messages": [{"role": "user", "content": 7}]})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"].startswith("messages[0].content")
    answer = light.client().post(OPENAI, content=b"{not json", headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert "not JSON" in message_of(answer)


def test_a_key_that_asks_too_often_is_told_when_to_come_back(light: Light) -> None:
    client = light.client(light.key("bob", requests_per_minute=2))
    for _ in range(2):
        assert client.get("/v1/models").status_code == 200
    for path, shape in (("/v1/models", "error"), ("/hearth/v1/models", "error")):
        answer = client.get(path)
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 30
        assert "2 requests a minute" in message_of(answer)
        assert shape in answer.json()


def test_the_tokens_of_prompt_and_answer_are_counted_on_every_way(light: Light) -> None:
    asks: tuple[tuple[str, dict[str, Any]], ...] = (
        (OPENAI, CHAT),
        (OPENAI, {**CHAT, "stream": True}),
        ("/api/inference/v1/chat/completions", {**CHAT, "stream": True}),
        ("/hearth/v1/generate", {"model": "tiny", "prompt": {"text": "sea"}, "sampling": {"maxTokens": 4}}),
    )
    for path, body in asks:
        client = light.client(light.key("dora", tokens_per_day=3))
        assert client.post(path, json=body).status_code == 200, path
        answer = client.post(path, json=body)
        assert answer.status_code == 429, path
        assert "3 tokens of today" in message_of(answer)


def test_variants_of_another_owner_are_as_if_they_were_not_there(light: Light) -> None:
    steering = {"edits": [{"feature": {"sae": "relu", "index": 1}, "nudge": 0.5}]}
    mine, other = light.client(light.key("eve")), light.client(light.key("fay"))
    made = mine.post("/hearth/v1/variants", json={"variant": {"name": "sailor", "steering": steering}})
    assert made.status_code == 200, made.text
    variant = made.json()["variant"]["id"]
    assert mine.get(f"/hearth/v1/variants/{variant}").status_code == 200
    theirs = other.get(f"/hearth/v1/variants/{variant}")
    nobodys = other.get("/hearth/v1/variants/00000000-0000-0000-0000-000000000000")
    assert (theirs.status_code, nobodys.status_code) == (404, 404)
    assert theirs.text.replace(variant, "ID") == nobodys.text.replace(
        "00000000-0000-0000-0000-000000000000", "ID"
    )


@pytest.mark.parametrize(
    "headers",
    [{"host": "evil.example"}, {"host": "evil.example:8080"}, {"x-forwarded-for": "203.0.113.7"}],
)
def test_the_key_dev_does_not_open_to_other_names_or_through_a_proxy(
    light: Light, headers: dict[str, str]
) -> None:
    assert light.client().get("/v1/models").status_code == 200
    assert light.client().get("/v1/models", headers=headers).status_code == 401
    assert light.client(light.key()).get("/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("host", "dev_key", "accepted"),
    [
        ("127.0.0.1", True, True),
        ("localhost", True, True),
        ("[::1]", True, True),
        ("127.0.0.1", False, False),
        ("0.0.0.0", True, False),
        ("192.0.2.1", True, False),
        ("[::]", True, False),
    ],
)
def test_the_key_dev_is_accepted_on_loopback_alone(host: str, dev_key: bool, accepted: bool) -> None:
    assert GatewaySettings(host=host, dev_key=dev_key).accepts_dev_key is accepted


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Light]:
    """A gateway with small limits, and one origin that may call it."""
    with light_in(
        tmp_path_factory.mktemp("strict"),
        max_body_bytes=1000,
        body_seconds=0.3,
        cors_origins=["https://notes.example"],
    ) as running:
        yield running


def test_too_large_a_body_is_refused_whether_it_says_its_size_or_not(strict: Light) -> None:
    text = json.dumps({**CHAT, "messages": [{"role": "user", "content": "sea " * 1000}]}).encode()
    client = strict.client()
    headers = {"content-type": "application/json"}
    said = client.post(OPENAI, content=text, headers=headers)
    unsaid = client.post(OPENAI, content=iter([text]), headers=headers)
    for answer in (said, unsaid):
        assert answer.status_code == 413
        assert "at most 1,000 bytes" in message_of(answer)
    assert client.post(OPENAI, json=CHAT).status_code == 200


def test_a_body_that_does_not_arrive_is_given_up(strict: Light) -> None:
    with socket.create_connection(("127.0.0.1", int(strict.url.rpartition(":")[2])), timeout=30) as slow:
        slow.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer dev\r\n"
            b"Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{"
        )
        assert slow.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_only_origins_that_are_named_may_call_from_a_browser(strict: Light) -> None:
    asking = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    named = strict.client("").options(OPENAI, headers={"origin": "https://notes.example", **asking})
    assert named.status_code == 200
    assert named.headers["access-control-allow-origin"] == "https://notes.example"
    other = strict.client("").options(OPENAI, headers={"origin": "https://evil.example", **asking})
    assert other.status_code == 400
    assert "access-control-allow-origin" not in other.headers
    failed = strict.client("").post(OPENAI, json=CHAT, headers={"origin": "https://notes.example"})
    assert failed.status_code == 401
    assert failed.headers["access-control-allow-origin"] == "https://notes.example"


def test_a_request_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with light_in(tmp_path, max_request_seconds=0.05) as hasty:
        body = {**CHAT, "max_tokens": 900}
        answer = hasty.client().post(OPENAI, json=body)
        assert answer.status_code == 504
        assert "took too long" in message_of(answer)


def test_the_log_has_neither_secrets_nor_prompts_and_errors_tell_nothing_internal(
    light: Light, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = light.key("gus")
    client = light.client(secret)

    async def broken() -> None:
        raise RuntimeError("the inner secret")

    with caplog.at_level(logging.DEBUG):
        client.post(OPENAI, json={**CHAT, "messages": [{"role": "user", "content": "hush-prompt"}]})
        client.post(OPENAI, json={**CHAT, "messages": [{"role": "user", "content": ["hush-wrong"]}]})
        client.get("/api/inference/v1/features/search", params={"query": "hush-query", "model": "tiny"})
        client.get("/hush-path")
        client.get("/hearth/v1/variants/hush-id")
        monkeypatch.setattr(light.gateway.models, "all", broken)
        answer = client.get("/v1/models")
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] in message_of(answer)
    assert "inner" not in answer.text
    lines = [record for record in caplog.records if record.name.startswith("hearth.gateway")]
    requests = [record.fields for record in lines if record.message == "request"]  # type: ignore[attr-defined]
    assert [line["route"] for line in requests] == [
        OPENAI,
        OPENAI,
        "/api/inference/v1/features/search",
        "none",
        "/hearth/v1/variants/{id}",
        "/v1/models",
    ]
    assert all(line["key"] == requests[0]["key"] for line in requests if line["route"] != "none")
    told = "".join(f"{record.getMessage()} {getattr(record, 'fields', '')}" for record in lines)
    assert "hush" not in told
    assert secret[10:] not in told


async def test_a_list_of_models_is_asked_for_once_by_many(light: Light) -> None:
    asked = 0
    now = 0.0

    async def ask() -> list[ServedModel]:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)  # others ask meanwhile
        return [ServedModel("a", 8, True, "", ()), ServedModel("b", 8, True, "", ())]

    models = Models(ask, {"old": "b"}, 2.0, lambda: now)
    found = await asyncio.gather(*(models.find(name) for name in ("", "a", "b", "old")))
    assert [model.id for model in found] == ["a", "a", "b", "b"]
    assert asked == 1
    now = 2.5
    await models.find("")
    assert asked == 2

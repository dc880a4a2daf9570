"""What callers see while a service is gone, and that it comes back by itself."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from tests.gateway.light import Light
from tests.gateway.platform import Platform
from tests.gateway.test_app import CHAT, EMBER, OPENAI, OURS, message_of
from tests.mesh.processes import wait_until_serving


def test_a_service_that_is_gone_is_named_in_each_contracts_shape_and_comes_back(light: Light) -> None:
    client = light.client()
    bodies = {OPENAI: CHAT, EMBER: CHAT, OURS: {"prompt": {"text": "sea"}}}
    with light.without_inference():
        for path, body in bodies.items():
            answer = client.post(path, json=body)
            assert answer.status_code == 503, path
            assert int(answer.headers["retry-after"]) >= 1
            assert message_of(answer).startswith("inference cannot be reached at the moment")
            assert "127.0.0.1" not in answer.text
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["serving"] == {
            "keys": True,
            "inference": False,
            "features": True,
            "autosteer": True,
        }
    for path, body in bodies.items():
        assert patiently(client, path, body).status_code == 200, path


def patiently(client: httpx.Client, path: str, body: dict[str, Any]) -> httpx.Response:
    """The answer to one who comes again when told to: the gateway connects anew within seconds."""
    for _ in range(10):
        answer = client.post(path, json=body)
        if answer.status_code != 503:
            break
        time.sleep(int(answer.headers["retry-after"]))
    return answer


@pytest.mark.model
@pytest.mark.platform
def test_inference_that_is_killed_is_started_again_and_serves(platform: Platform) -> None:
    body = {
        **CHAT,
        "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "messages": [{"role": "user", "content": "Hi"}],
    }
    with httpx.Client(base_url=platform.url, headers={"authorization": "Bearer dev"}, timeout=60) as client:
        assert client.post(OPENAI, json=body).status_code == 200
        before = len(platform.lines)
        platform.kill("inference")
        answer = client.post(OPENAI, json=body)
        assert answer.status_code == 503
        assert "inference cannot be reached" in message_of(answer)
        platform.wait_for("it starts again", before)
        wait_until_serving(platform.inference, platform.process)
        assert patiently(client, OPENAI, body).status_code == 200

"""The gateway's edge: who may ask, how much, how long, and what every answer has."""

from __future__ import annotations

import httpx

from tests.gateway.light import Light


def test_it_says_whether_all_services_serve(light: Light) -> None:
    client = light.client("")
    assert client.get("/healthz").json() == {"status": "ok"}
    answer = client.get("/readyz")
    assert answer.json() == {
        "ready": True,
        "serving": {"keys": True, "inference": True, "features": True, "autosteer": True},
    }
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-request-id"]

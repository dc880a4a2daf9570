"""A backup of a platform that is at work brings back on another machine what people made."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.test_command import HEARTH
from tests.gateway.platform import Platform, platform_in

pytestmark = [pytest.mark.model, pytest.mark.platform]
OURS = "/hearth/v1"
STEERING = {"edits": [{"feature": {"index": 114}, "nudge": 0.5}]}
LABEL = f"walrus moustaches {uuid.uuid4()}"


def client(platform: Platform, key: str) -> httpx.Client:
    return httpx.Client(base_url=platform.url, headers={"authorization": f"Bearer {key}"}, timeout=120)


def asked(caller: httpx.Client, verb: str, path: str, body: object = None) -> Any:
    answer = caller.request(verb, OURS + path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_key_variant_label_and_job_are_there_after_a_restore(
    embedded_model: Path, sentence_encoder: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "backup.tar.gz"
    with platform_in(tmp_path / "here") as platform:
        key = platform.key("ann")
        with client(platform, key) as ann:
            variant = asked(
                ann, "POST", "/variants", {"variant": {"name": "sailor", "model": "", "steering": STEERING}}
            )
            contested = {"feature": {"key": {"index": 7}, "label": LABEL}, "updateMask": "label"}
            asked(ann, "PATCH", "/features", contested)
            spec = {"behavior": "write about boats", "tier": "AUTO_STEER_TIER_QUICK", "budget": "10s"}
            job = asked(ann, "POST", "/autosteer/jobs", {"spec": spec})["job"]
            done = subprocess.run(
                [*HEARTH, "backup", str(archive)],
                env=platform.environment,
                capture_output=True,
                text=True,
                check=True,
            )
            assert "autosteer" in done.stdout
            asked(ann, "POST", "/variants", {"variant": {"name": "later", "model": "", "steering": STEERING}})
    there = {**platform.environment, "XDG_DATA_HOME": str(tmp_path / "there")}
    subprocess.run([*HEARTH, "restore", str(archive)], env=there, check=True)
    with platform_in(tmp_path / "there") as platform, client(platform, key) as ann:
        assert [each["name"] for each in asked(ann, "GET", "/variants")["variants"]] == ["sailor"]
        found = asked(ann, "GET", f"/variants/{variant['variant']['id']}")["variant"]
        assert found["steering"] == variant["variant"]["steering"]
        hits = asked(ann, "POST", "/features/search", {"query": "walrus moustaches", "topK": 3})["hits"]
        assert LABEL in [hit["feature"]["label"] for hit in hits]
        with ann.stream("GET", f"{OURS}/autosteer/jobs/{job['id']}/events") as events:
            for _ in events.iter_lines():  # until it has ended
                pass
        ended = asked(ann, "GET", f"/autosteer/jobs/{job['id']}")["job"]
        assert ended["state"] == "AUTO_STEER_STATE_SUCCEEDED", ended

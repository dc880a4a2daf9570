"""Ember's SDK, unmodified, works against Hearth: sync and async, each route, each error, and its faults are as
documented. What is claimed in detail stands in `sdk/`."""

from __future__ import annotations

from typing import Any

import pytest

from services.inference.embedded import EMBEDDED_MODEL_ID
from services.keys.key import Quotas
from tests.gateway.ember.sdk_process import CLAIMS, needs_sdk, told_by
from tests.gateway.light import Light
from tests.gateway.platform import Platform


def held(told: list[dict[str, Any]]) -> int:
    """How many claims held. Fails with what is wrong where one did not."""
    wrong = [f"{each['claim']}:\n{each['error']}" for each in told if each["error"]]
    assert not wrong, "\n".join(wrong)
    return len(told)


@needs_sdk
def test_every_call_of_the_sdk_works_and_each_of_its_faults_is_as_documented(light: Light) -> None:
    made, revoked = light.call(light.keyring.create("ann", "lost", Quotas()))
    light.call(light.keyring.revoke(made.id))
    given = {
        "base_url": light.url,
        "key": light.key("ann"),
        "model": light.model,
        "limited": light.key("bob", requests_per_minute=1),
        "revoked": revoked,
    }
    assert held(told_by(CLAIMS, given, 300)) > 50


@needs_sdk
@pytest.mark.model
@pytest.mark.platform
def test_the_sdk_works_against_the_platform_as_make_up_starts_it(platform: Platform) -> None:
    given = {
        "base_url": platform.url,
        "key": platform.key("ann"),
        "model": EMBEDDED_MODEL_ID,
        "limited": platform.key("bob", "--requests-per-minute", "1"),
        "quick": "yes",
    }
    assert held(told_by(CLAIMS, given, 600)) > 30

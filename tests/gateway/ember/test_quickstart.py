"""The quickstart of Ember's SDK runs top to bottom, with nothing changed but key, model and base URL."""

from __future__ import annotations

import re

import pytest

from services.inference.embedded import EMBEDDED_MODEL_ID
from tests.gateway.ember.sdk_process import QUICKSTART, needs_sdk, told_by
from tests.gateway.platform import Platform

BLOCKS = 31
"""Blocks of Python in it, but for two that install something."""


@needs_sdk
@pytest.mark.model
@pytest.mark.platform
def test_the_quickstart_of_the_sdk_runs_top_to_bottom(platform: Platform) -> None:
    given = {"base_url": platform.url, "key": platform.key("quick"), "model": EMBEDDED_MODEL_ID}
    told = told_by(QUICKSTART, given, 600)
    outputs = {each["title"]: each["output"] for each in told}
    failed = {each["title"]: each["error"] for each in told if each["error"]}

    assert len(told) == BLOCKS
    # It names a module that the SDK does not have; that block then ran by the way round of docs/ember.md.
    assert list(failed) == ["Auto Conditional Code"], failed
    assert "module 'goodfire' has no attribute 'conditional'" in failed["Auto Conditional Code"]

    assert outputs["Auto Steer Code"].startswith("FeatureEdits([")
    assert outputs["Feature Search Code"].count('": ') + outputs["Feature Search Code"].count(': "') >= 10
    assert outputs["Pirate Features Code"].startswith('Feature("')
    assert "alligator in a vest" in outputs["Inspect Code"]
    assert re.search(r"\{\d+: Feature\(", outputs["Lookup Code"])
    assert "array([" in outputs["Matrix Code"]
    assert "array([" in outputs["Vector Code"]
    for title in (
        "Generation Code",
        "Auto Steer Generation Code",
        "Generate Response Code",
        "OpenAI SDK Code",
    ):
        assert len(outputs[title]) > 20, title

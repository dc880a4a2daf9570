"""The alert rules: valid, each tested by promtool, each with its place in the runbook."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GIVEN = ROOT / "deploy" / "observability"
ALERTS = re.findall(r"- alert: (\w+)", (GIVEN / "alerts.yaml").read_text())
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not installed; Debian's package prometheus has it"
)


def promtool(*arguments: str) -> str:
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *arguments], cwd=GIVEN, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_promtool
def test_promtool_finds_the_rules_and_the_example_valid() -> None:
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", "alerts.yaml")
    promtool("check", "config", "prometheus.yaml")


@needs_promtool
def test_every_alert_fires_where_it_should_and_stays_silent_where_all_is_well() -> None:
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yaml")


@needs_promtool
def test_every_query_of_the_dashboard_is_one(tmp_path: Path) -> None:
    dashboard = json.loads((GIVEN / "dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(queries)
    ]
    file = tmp_path / "queries.yaml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))  # JSON is YAML
    assert f"{len(queries)} rules found" in promtool("check", "rules", str(file))


def test_every_alert_has_its_tests_and_its_place_in_the_runbook() -> None:
    tests = (GIVEN / "alerts_test.yaml").read_text()
    document = (ROOT / "docs" / "operations.md").read_text()
    assert len(ALERTS) > 15
    for alert in ALERTS:
        assert f"name: {alert} fires" in tests
        assert f"alertname: {alert}}}" in tests, "silent where all is well"
        assert f"\n### {alert}\n" in document
        assert f"docs/operations.md#{alert.lower()}" in (GIVEN / "alerts.yaml").read_text()

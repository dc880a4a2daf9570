"""What Prometheus fetches after some traffic, and that dashboard, alerts and document name nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from services.rpc import metrics
from services.rpc.telemetry import TelemetrySettings
from tests.mesh.processes import free_port
from tests.observability.conftest import BASE, OWNER, PROMPT, Observed

ROOT = Path(__file__).parents[2]
GIVEN = ROOT / "deploy" / "observability"
NAME = re.compile(r"\b(?:hearth|process)_[a-z_]+\b")
GENERATE = "hearth.v1.InferenceService/Generate"


def in_queries() -> dict[str, set[str]]:
    """The metrics that each file asks for."""
    dashboard = json.loads((GIVEN / "dashboard.json").read_text())
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    rules = [line for line in (GIVEN / "alerts.yaml").read_text().splitlines() if "summary" not in line]
    return {"dashboard": set(NAME.findall("\n".join(panels))), "alerts": set(NAME.findall("\n".join(rules)))}


@pytest.mark.parametrize("file", ["dashboard", "alerts"])
def test_every_metric_of_a_query_exists(file: str, observed: Observed) -> None:
    asked = in_queries()[file]
    assert len(asked) > 15
    assert sorted(asked - observed.families) == []


def test_every_metric_is_described_and_nothing_else_is(observed: Observed) -> None:
    document = (ROOT / "docs" / "operations.md").read_text()
    described = set(re.findall(r"^\| `(hearth_[a-z_]+)", document, re.MULTILINE))
    ours = {name for name in observed.families if name.startswith("hearth_")}
    written = {re.sub(r"_(bucket|sum|count)$", "", name) for name in ours}
    assert described == written


def test_calls_are_counted_by_method_status_and_reason(observed: Observed) -> None:
    assert observed.grew("hearth_rpc_calls_total", method=GENERATE, code="OK") >= 4
    assert observed.grew("hearth_rpc_calls_total", method=GENERATE, code="NOT_FOUND") == 1
    assert observed.grew("hearth_rpc_errors_total", method=GENERATE, reason="MODEL_NOT_SERVED") == 1
    assert observed.grew("hearth_rpc_call_duration_seconds_count", method=GENERATE) >= 5
    assert observed.after["hearth_rpc_calls_running{}"] == observed.before["hearth_rpc_calls_running{}"]


def test_requests_are_counted_by_route_not_by_path(observed: Observed) -> None:
    assert observed.grew("hearth_http_requests_total", route=f"{BASE}/generate", status="200") == 3
    assert observed.grew("hearth_http_requests_total", route="/v1/models", status="429") == 1
    assert observed.grew("hearth_http_requests_total", route=f"{BASE}/autosteer/jobs/{{id}}/cancel") == 1
    assert observed.grew("hearth_http_tokens_total") > 100


def test_refusals_are_counted_by_quota(observed: Observed) -> None:
    assert observed.grew("hearth_quota_refusals_total", quota="requests_per_minute") == 1
    assert observed.grew("hearth_quota_refusals_total", quota="tokens_per_day") == 0
    assert observed.grew("hearth_key_refusals_total") == 1


def test_tokens_and_their_times_are_counted(observed: Observed) -> None:
    generated = observed.grew("hearth_generated_tokens_total", model="tiny")
    assert generated >= 3 * 6
    firsts = observed.grew("hearth_time_to_first_token_seconds_count", model="tiny")
    assert firsts >= 4
    assert observed.grew("hearth_inter_token_seconds_count", model="tiny") == generated - firsts
    assert observed.grew("hearth_generations_total", reason="length") >= 4
    assert observed.grew("hearth_prefix_cache_hits_total") > 0
    assert observed.grew("hearth_prompt_tokens_cached_total") > 0
    assert observed.grew("hearth_engine_steps_total") > 0
    assert observed.after['hearth_engine_rows_limit{model="tiny"}'] == 32


def test_clipped_steering_is_counted(observed: Observed) -> None:
    steered, clipped = (
        observed.grew(f"hearth_steering_{what}_total") for what in ("tokens", "clipped_tokens")
    )
    assert 0 < clipped < steered


def test_work_of_the_worker_is_counted(observed: Observed) -> None:
    assert observed.grew("hearth_job_stage_duration_seconds_count", stage="draft") == 1
    assert observed.grew("hearth_job_outcomes_total", outcome="lost") == 1, "it was cancelled"
    assert observed.grew("hearth_store_call_duration_seconds_count", operation="query") > 0


def test_no_label_holds_a_callers_word_and_the_public_port_has_no_metrics(observed: Observed) -> None:
    assert not any(PROMPT in key or OWNER in key for key in observed.after)
    assert observed.public == 404


def test_a_taken_port_is_told_and_none_is_open_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEARTH_METRICS_PORT", raising=False)
    assert metrics.serve_metrics(TelemetrySettings(), "test") is None
    port = free_port()
    assert metrics.serve_metrics(TelemetrySettings(metrics_port=port), "test") == port
    with pytest.raises(SystemExit, match=f"port {port}: is taken"):
        metrics.serve_metrics(TelemetrySettings(metrics_port=port), "test")

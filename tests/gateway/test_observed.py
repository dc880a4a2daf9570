"""Metrics and logs of the whole platform, its worker and its broker included."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import httpx
import pytest

from tests.gateway.platform import Platform
from tests.observability.conftest import scraped

pytestmark = [pytest.mark.model, pytest.mark.platform]
SECRET = "zanzibar"
BASE = "/hearth/v1/autosteer/jobs"


@pytest.fixture(scope="module")
def measured(platform: Platform) -> dict[str, dict[str, float]]:
    """The metrics of every process after a job, whose text holds the secret."""
    bearer = {"authorization": f"Bearer {platform.key('observer')}"}
    with httpx.Client(base_url=platform.url, headers=bearer, timeout=300) as client:
        spec = {"behavior": f"talk of {SECRET}", "budget": "30s", "tier": "AUTO_STEER_TIER_QUICK"}
        job = client.post(BASE, json={"spec": spec}).json()["job"]
        assert "SUCCEEDED" in client.get(f"{BASE}/{job['id']}/events").text
    told = re.search(r"Metrics at http://(\S+):PORT/metrics: (.+)", "".join(platform.lines))
    assert told is not None
    ports = dict(place.split(" ") for place in told[2].split(", "))
    urls = {name: f"http://{told[1]}:{port}/metrics" for name, port in ports.items()}
    # The job's last event is there a moment before its task is over, and the queue is counted every two seconds.
    _asked_until(urls["worker"], 'hearth_celery_tasks_total{state="SUCCESS"}', lambda number: number >= 1)
    _asked_until(urls["autosteer"], 'hearth_jobs{state="running",tier="quick"}', lambda number: number == 0)
    return {name: scraped(url)[0] for name, url in urls.items()}


def _asked_until(url: str, metric: str, holds: Callable[[float], bool]) -> None:
    """Returns once a metric is as it should be."""
    for _ in range(2000):
        if holds(scraped(url)[0].get(metric, -1.0)):
            return
    raise AssertionError(metric)


def test_a_job_shows_in_the_metrics_of_every_process(measured: dict[str, dict[str, float]]) -> None:
    worker = measured["worker"]
    assert worker['hearth_job_outcomes_total{outcome="succeeded"}'] >= 1
    assert worker['hearth_celery_tasks_total{state="SUCCESS"}'] >= 1
    assert worker['hearth_dependency_up{dependency="broker"}'] == 1
    assert measured["autosteer"]['hearth_jobs{state="running",tier="quick"}'] == 0
    assert measured["features"]['hearth_dependency_up{dependency="vector_store"}'] == 1
    assert measured["gateway"]['hearth_dependency_up{dependency="database"}'] == 1
    generated = [value for key, value in measured["inference"].items() if "generated_tokens_total" in key]
    assert sum(generated) > 100
    assert all(each["hearth_serving{}"] == 1 for each in measured.values())


def test_all_processes_log_json_without_a_word_of_prompts(
    measured: dict[str, dict[str, float]], platform: Platform
) -> None:
    lines = re.findall(r"^(\w+) +│ (.+)$", "".join(platform.lines), re.MULTILINE)
    theirs = [
        (name, line) for name, line in lines if not line.endswith("; it starts again")
    ]  # the supervisor's
    ours = [(name, json.loads(line)) for name, line in theirs if name in measured]
    assert {name for name, _ in ours} == set(measured)
    assert all({"time", "level", "message"} <= line.keys() for _, line in ours)
    assert SECRET not in "".join(platform.lines)

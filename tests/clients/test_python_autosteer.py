"""The Python client's auto-steer against real servers: events, edits, conditions, and jobs that nobody waits for."""

from __future__ import annotations

import pytest

from hearth_client import ChatMessage, Client, Feature, Variant
from hearth_client.v1 import autosteer_service_pb2

HELLO: list[ChatMessage] = [{"role": "user", "content": "the cat stops"}]


@pytest.mark.platform
def test_autosteer_tells_its_events_and_returns_edits_for_set(client: Client) -> None:
    told: list[int] = []
    found = client.autosteer(
        "ships", seed=1, max_features=1, on_event=lambda event: told.append(event.sequence)
    )
    assert told == list(range(1, len(told) + 1))
    assert found.job.id
    assert found.verdict in ("use", "prompt_instead", "no_safe_steer")
    variant = Variant()
    variant.set(found.edits)
    assert variant.edits == found.edits


def test_what_is_raised_while_a_job_is_watched_cancels_it(client: Client) -> None:
    def stop(event: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.autosteer("ships", on_event=stop)
    listed = client.stubs.AutoSteerService.ListAutoSteerJobs(
        autosteer_service_pb2.ListAutoSteerJobsRequest(), timeout=15, metadata=client.metadata
    )
    assert listed.jobs[0].state == autosteer_service_pb2.AUTO_STEER_STATE_CANCELLED


@pytest.mark.platform
def test_autoconditional_returns_a_condition_for_a_variant(client: Client) -> None:
    found = client.autoconditional("ships", max_features=2, seed=1)
    assert 1 <= len(found.features) <= 2
    assert 0 <= found.auroc <= 1
    variant = Variant()
    variant.set_when(found.condition, {Feature(3): 0.5})
    assert client.chat.completions.create(HELLO, variant, max_completion_tokens=12).text

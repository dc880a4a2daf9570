"""Auto-steer in one answer: edits with an honest verdict, within the time that the SDK waits; no job is left behind."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from hearth.v1 import autosteer_service_pb2 as pb
from hearth.v1 import steering_pb2
from services.gateway.ember import autosteering
from services.gateway.ember.cards import Card
from services.gateway.ember.wire import autosteer as wire
from services.rpc.calls import OWNER_KEY
from tests.gateway.ember.asking import BASE, post, said
from tests.gateway.light import Light

WORDED = {"model": "tiny", "specification": "write about the sea and ships"}
CARDS = {n: Card(str(uuid.UUID(int=n)), n, f"label {n}", 1.0) for n in range(3)}


def jobs_of(light: Light, owner: str) -> list[pb.AutoSteerJob]:
    """An owner's jobs, newest first."""

    async def listed(request: pb.ListAutoSteerJobsRequest) -> pb.ListAutoSteerJobsResponse:
        return await light.gateway.services.autosteer.ListAutoSteerJobs(
            request, metadata=((OWNER_KEY, owner),)
        )

    return list(said(light, listed, pb.ListAutoSteerJobsRequest()).jobs)


@contextmanager
def another_job(light: Light) -> Iterator[None]:
    """A long quick job is at work meanwhile."""
    autosteer, metadata = light.gateway.services.autosteer, ((OWNER_KEY, "before"),)

    async def begun() -> str:
        spec = pb.AutoSteerSpec(
            behavior=WORDED["specification"], tier=pb.AUTO_STEER_TIER_QUICK, max_trials=500, max_tokens=256
        )
        request = pb.CreateAutoSteerJobRequest(spec=spec)
        made = await autosteer.CreateAutoSteerJob(request, metadata=metadata)
        watched = pb.WatchAutoSteerJobRequest(id=made.job.id)
        async for _ in autosteer.WatchAutoSteerJob(watched, metadata=metadata):
            break
        return made.job.id

    job_id = light.call(begun())
    yield

    async def ended() -> None:
        await autosteer.CancelAutoSteerJob(pb.CancelAutoSteerJobRequest(id=job_id), metadata=metadata)

    light.call(ended())


def test_edits_come_with_the_verdict_of_their_job(light: Light) -> None:
    told = post(light.client(light.key("edits")), "features/auto-edits", **WORDED)
    (job,) = jobs_of(light, "edits")
    assert job.id == told["job_id"]
    assert job.spec.tier == pb.AUTO_STEER_TIER_QUICK
    assert job.state == pb.AUTO_STEER_STATE_SUCCEEDED
    assert told["verdict"] in ("use", "prompt_instead", "no_safe_steer")
    assert told["reason"]
    for feature, strength in told["edits"]:
        assert {"id", "label", "index_in_sae"} == set(feature)
        assert isinstance(strength, float)


def test_a_job_that_had_no_turn_in_time_is_cancelled_and_to_be_tried_again(
    light: Light, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autosteering, "ANSWER_SECONDS", 0.0)
    with another_job(light):
        answer = light.client(light.key("hasty")).post(f"{BASE}/features/auto-edits", json=WORDED)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    assert "had no turn" in answer.json()["detail"]
    assert [job.state for job in jobs_of(light, "hasty")] == [pb.AUTO_STEER_STATE_CANCELLED]


def test_when_the_client_goes_the_job_is_cancelled(light: Light) -> None:
    key = light.key("gone")

    async def leave() -> int:
        """Asks, leaves as soon as the job is there, and tells how the job ended."""
        autosteer, metadata = light.gateway.services.autosteer, ((OWNER_KEY, "gone"),)
        async with httpx.AsyncClient(base_url=light.url, timeout=60) as client:
            asking = asyncio.create_task(
                client.post(
                    f"{BASE}/features/auto-edits", json=WORDED, headers={"authorization": f"Bearer {key}"}
                )
            )
            while not asking.done():
                listed = await autosteer.ListAutoSteerJobs(pb.ListAutoSteerJobsRequest(), metadata=metadata)
                if listed.jobs:
                    break
            asking.cancel()
        watched = pb.WatchAutoSteerJobRequest(id=listed.jobs[0].id)
        ends = [
            event.ended.state
            async for event in autosteer.WatchAutoSteerJob(watched, metadata=metadata)
            if event.HasField("ended")
        ]
        return ends[0]

    assert light.call(leave()) == pb.AUTO_STEER_STATE_CANCELLED


def job(**fields: Any) -> pb.AutoSteerJob:
    """A job that has ended."""
    return pb.AutoSteerJob(id="a job", state=pb.AUTO_STEER_STATE_SUCCEEDED, **fields)


def trial(*edits: tuple[int, float]) -> pb.AutoSteerTrial:
    keys = [(steering_pb2.FeatureKey(index=index), value) for index, value in edits]
    return pb.AutoSteerTrial(score=0.5, edits=[steering_pb2.Edit(feature=k, nudge=v) for k, v in keys])


def test_strengths_read_as_they_were_meant_not_as_float32_has_them() -> None:
    found = job(result=pb.AutoSteerResult(best=trial((1, 0.35), (2, -0.7))))
    assert wire.edited_features(found) == [1, 2]
    edits = wire.found_edits(found, CARDS)["edits"]
    assert edits == [[CARDS[1].named(), 0.35], [CARDS[2].named(), -0.7]]


def test_of_a_job_whose_time_was_up_the_best_it_had_is_the_answer_untested() -> None:
    late = pb.AutoSteerJob(state=pb.AUTO_STEER_STATE_CANCELLED, best=trial((1, 0.5)))
    late.start_time.GetCurrentTime()
    told = wire.found_edits(late, CARDS)
    assert (told["verdict"], told["reason"], len(told["edits"])) == (None, wire.UNTESTED, 1)


@pytest.mark.parametrize("decision", ["use", "prompt_instead", "no_safe_steer"])
def test_the_verdict_is_told_in_words_of_its_own(decision: str) -> None:
    verdict = pb.AutoSteerVerdict(
        decision=pb.AutoSteerDecision.Value(f"AUTO_STEER_DECISION_{decision.upper()}"), reason="because"
    )
    result = pb.AutoSteerResult(best=trial((1, 0.5)), verdict=verdict, cut_short=["search"])
    told = wire.found_edits(job(result=result, verdict=verdict), CARDS)
    assert (told["verdict"], told["reason"], told["cut_short"]) == (decision, "because", ["search"])
    assert len(told["edits"]) == 1


def test_where_nothing_was_found_there_are_no_edits() -> None:
    assert wire.found_edits(job(result=pb.AutoSteerResult()), CARDS)["edits"] == []


@pytest.mark.parametrize(
    ("reason", "expected"), [("DEPENDENCY_UNAVAILABLE", "DEPENDENCY_UNAVAILABLE"), ("?", "INTERNAL")]
)
def test_a_job_that_failed_fails_the_request_for_the_same_reason(reason: str, expected: str) -> None:
    failed = pb.AutoSteerJob(
        state=pb.AUTO_STEER_STATE_FAILED, error=pb.AutoSteerError(reason=reason, message="it is away")
    )
    with pytest.raises(wire.JobFailed, match="it is away") as caught:
        wire.found_edits(failed, CARDS)
    assert caught.value.reason == expected


def test_a_condition_is_in_the_sdk_s_words_with_how_well_it_works() -> None:
    features = steering_pb2.FeatureSet(features=[steering_pb2.FeatureKey(index=n) for n in (2, 1)])
    comparison = steering_pb2.Comparison(left=features, operator=steering_pb2.Comparison.OPERATOR_GREATER)
    condition = steering_pb2.Condition(comparison=comparison)
    answer = pb.SuggestConditionResponse(
        condition=condition, threshold=0.2, auroc=0.9, true_positive_rate=0.8, false_positive_rate=0.05
    )
    told = wire.found_condition(answer, CARDS)
    assert told["conditional"] == {
        "conditionals": [
            {
                "left_hand": {"features": [CARDS[2].whole(), CARDS[1].whole()]},
                "operator": ">",
                "right_hand": 0.2,
            }
        ],
        "operator": "AND",
    }
    assert (told["auroc"], told["true_positive_rate"], told["false_positive_rate"]) == (0.9, 0.8, 0.05)

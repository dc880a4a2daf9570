"""kill -9 of each process in the middle of a job: the same result, no trial twice, an unbroken sequence of events."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from hearth.v1 import autosteer_service_pb2 as pb
from tests.database.postgres import PostgresServer
from tests.mesh.autosteered import TIMEOUT, Stack, stack_in

PASSING = ("sequence", "time", "elapsed")
"""Fields that may differ."""
pytestmark = pytest.mark.model


@pytest.fixture(
    params=["valkey and sqlite", pytest.param("redis and postgresql", marks=pytest.mark.platform)]
)
def stack(request: pytest.FixtureRequest, sentence_encoder: Path, tmp_path: Path) -> Iterator[Stack]:
    """Everything that a job needs, in processes of its own."""
    if request.param == "valkey and sqlite":
        with stack_in(tmp_path) as running:
            yield running
        return
    redis = shutil.which("redis-server")
    if redis is None:
        pytest.skip("needs redis-server: apt-get install redis-server")
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.new_database() as url, stack_in(tmp_path, url, [redis]) as running:
        yield running


def found_in(events: list[pb.WatchAutoSteerJobResponse]) -> tuple[list[Any], list[float]]:
    """What was found, apart from its numbers, and its numbers; without times, interruptions and progress.

    The numbers differ in the seventh place: how many texts the encoder has at once depends on what was killed.
    """
    numbers: list[float] = []

    def without_numbers(value: Any) -> Any:
        match value:
            case dict():
                return {name: without_numbers(value[name]) for name in sorted(value) if name not in PASSING}
            case list():
                return [without_numbers(item) for item in value]
            case float():
                numbers.append(value)
                return None
        return value

    said = [e for e in events if e.WhichOneof("event") not in ("interrupted", "progress")]
    return [without_numbers(MessageToDict(event)) for event in said], numbers


def restarted_worker(stack: Stack) -> None:
    stack.kill("worker")
    stack.start("worker")


def restarted_server(stack: Stack) -> None:
    stack.kill("server")
    stack.start("server")


def restarted_broker(stack: Stack) -> None:
    stack.kill("broker")
    stack.start("broker")


def broker_without_its_data(stack: Stack) -> None:
    """And the worker with it, so that the job has to be carried once more."""
    stack.kill("worker")
    stack.kill("broker")
    stack.lose_broker_data()
    stack.start("broker", "worker")


def restarted_inference(stack: Stack) -> None:
    stack.kill("tiny")
    stack.start("tiny")


DISASTERS: dict[int, Callable[[Stack], None]] = {
    3: restarted_worker,
    8: restarted_inference,
    12: broker_without_its_data,
    16: restarted_broker,
    18: restarted_server,
}
"""After which event of the watcher they happen; first those without which the job stands still."""


def test_a_job_ends_as_if_nothing_had_been_killed(stack: Stack) -> None:
    budget = {"budget": {"seconds": 3600}, "max_trials": 16}
    whole = list(stack.watch(stack.create(**budget)))
    assert whole[-1].ended.state == pb.AUTO_STEER_STATE_SUCCEEDED
    disasters = dict(DISASTERS)
    seen = []
    for event in stack.watch(stack.create(**budget)):
        seen.append(event)
        if disaster := disasters.pop(len(seen), None):
            disaster(stack)
    assert not disasters
    assert [event.sequence for event in seen] == list(range(1, len(seen) + 1))
    trials = [event.trial.number for event in seen if event.HasField("trial")]
    assert trials == sorted(set(trials))
    assert any(event.HasField("interrupted") for event in seen)
    found, numbers = found_in(seen)
    wanted, same_numbers = found_in(whole)
    assert found == wanted
    assert numbers == pytest.approx(same_numbers, abs=1e-4)


def test_a_cancelled_job_is_left_by_its_worker_and_keeps_its_best_trial(
    sentence_encoder: Path, tmp_path: Path
) -> None:
    with stack_in(tmp_path) as stack, stack.stub() as stub:
        job_id = stack.create(max_trials=500, max_tokens=256, budget={"seconds": 3600})
        for event in stack.watch(job_id):
            if event.HasField("trial"):
                stub.CancelAutoSteerJob(pb.CancelAutoSteerJobRequest(id=job_id), timeout=TIMEOUT)
        assert event.ended.state == pb.AUTO_STEER_STATE_CANCELLED
        assert event.ended.HasField("best")
        job = stub.GetAutoSteerJob(pb.GetAutoSteerJobRequest(id=job_id), timeout=TIMEOUT).job
        assert job.best == event.ended.best
        follower = stack.create(budget={"seconds": 3600})  # the worker is free again
        assert list(stack.watch(follower))[-1].ended.state == pb.AUTO_STEER_STATE_SUCCEEDED

"""What Prometheus is told of auto-steer: by its server of the queue, by workers of the jobs and of Celery."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram

STAGE_SECONDS = (1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0)
"""Upper bounds; the longest budget is hours."""

_JOBS = Gauge("hearth_jobs", "Jobs that wait or run, in the whole mesh", ["state", "tier"])
_OLDEST = Gauge(
    "hearth_jobs_oldest_due_seconds", "For how long the job that is due longest has waited for a worker"
)
_OUTCOMES = Counter("hearth_job_outcomes", "How turns of jobs ended in this worker", ["outcome"])
_TURN_SECONDS = Histogram(
    "hearth_job_turn_seconds", "How long this worker worked on a job in one turn", buckets=STAGE_SECONDS
)
_STAGES = Gauge("hearth_job_stages_running", "Jobs of this worker, by the stage that they are in", ["stage"])
_STAGE_SECONDS = Histogram(
    "hearth_job_stage_duration_seconds", "How long stages of jobs took", ["stage"], buckets=STAGE_SECONDS
)
_LEASES_LOST = Counter(
    "hearth_job_leases_lost", "Jobs that were taken back because their worker was not heard of"
)
_MESSAGES = Gauge("hearth_celery_messages_waiting", "Messages in the broker that no worker has taken yet")
_TASKS = Counter("hearth_celery_tasks", "Celery tasks that ended in this worker", ["state"])
_TASKS_RUNNING = Gauge("hearth_celery_tasks_running", "Celery tasks that run in this worker")
_SENT = Counter("hearth_celery_messages_sent", "Messages that were sent to wake a worker")


def queue(jobs: Mapping[tuple[str, str], int], oldest_due_seconds: float) -> None:
    """How many jobs are in a state and tier."""
    for (state, tier), number in jobs.items():
        _JOBS.labels(state, tier).set(number)
    _OLDEST.set(oldest_due_seconds)


@contextmanager
def turn() -> Iterator[None]:
    """Around a worker's work on a job, from taking it to its end or until it is given back."""
    with _TURN_SECONDS.time():
        yield


def outcome(of_turn: str) -> None:
    """How a turn ended: succeeded, failed, postponed, given_back, lost or left."""
    _OUTCOMES.labels(of_turn).inc()


@contextmanager
def stage_runs(stage: str) -> Iterator[None]:
    """Around a stage; one that was not finished is not counted in its durations."""
    started = time.perf_counter()
    with _STAGES.labels(stage).track_inprogress():
        yield
    _STAGE_SECONDS.labels(stage).observe(time.perf_counter() - started)


def lease_lost() -> None:
    """A job was taken back."""
    _LEASES_LOST.inc()


def messages_waiting(number: int) -> None:
    """What the broker holds."""
    _MESSAGES.set(number)


def messages_sent(number: int) -> None:
    """The broker took so many."""
    _SENT.inc(number)


def task_begins() -> None:
    """A Celery task was taken."""
    _TASKS_RUNNING.inc()


def task_ended(state: str) -> None:
    """A Celery task is over: SUCCESS, FAILURE or another state of Celery's."""
    _TASKS_RUNNING.dec()
    _TASKS.labels(state or "UNKNOWN").inc()

"""Edits and conditions that are found for a behaviour."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Literal, TypeAlias

import grpc

from hearth_client.answers import AutoCondition, AutoSteered
from hearth_client.errors import DeadlineExceeded, HearthError, ServerError, Unavailable
from hearth_client.features import Feature, FeatureGroup
from hearth_client.operations.features import known
from hearth_client.operations.methods import CANCEL_JOB, CREATE_JOB, GET_JOB, SUGGEST_CONDITION, WATCH_JOB
from hearth_client.operations.models import Session, Target
from hearth_client.operations.steps import Operation, Pause, Stream
from hearth_client.v1 import autosteer_service_pb2 as pb
from hearth_client.variant import Edit, FeatureEdits, Variant
from hearth_client.wire.steering import condition_of, edits_of

Tier = Literal["quick", "default", "thorough"]
Told: TypeAlias = Callable[[pb.WatchAutoSteerJobResponse], object]
_TIERS = {
    "quick": pb.AUTO_STEER_TIER_QUICK,
    "default": pb.AUTO_STEER_TIER_DEFAULT,
    "thorough": pb.AUTO_STEER_TIER_THOROUGH,
}
_VERDICTS: dict[int, Literal["use", "prompt_instead", "no_safe_steer"]] = {
    pb.AUTO_STEER_DECISION_USE: "use",
    pb.AUTO_STEER_DECISION_PROMPT_INSTEAD: "prompt_instead",
    pb.AUTO_STEER_DECISION_NO_SAFE_STEER: "no_safe_steer",
}
TRIES, PAUSE = 60, 1.0
"""How often in a row a watcher whose server is away calls again, and after how many seconds."""


def autosteer(
    session: Session,
    specification: str,
    model: str | Variant,
    *,
    tier: Tier,
    max_features: int | None,
    budget: float | None,
    seed: int | None,
    on_event: Told | None,
) -> Operation[AutoSteered]:
    """The best edits that a job finds, and its verdict. The job ends with the call, however that ends."""
    target = yield from session.target(model)
    spec = pb.AutoSteerSpec(
        model=target.model,
        sae=target.sae,
        behavior=specification,
        tier=_TIERS[tier],
        max_features=max_features,
        seed=seed,
    )
    if budget is not None:
        spec.budget.FromNanoseconds(round(budget * 1e9))
    request = pb.CreateAutoSteerJobRequest(spec=spec, request_id=str(uuid.uuid4()))
    job = (yield from session.patience.ask(CREATE_JOB, request)).job
    try:
        yield from watched(job.id, on_event)
    except BaseException:
        yield from session.patience.ask(CANCEL_JOB, pb.CancelAutoSteerJobRequest(id=job.id))
        raise
    job = (yield from session.patience.ask(GET_JOB, pb.GetAutoSteerJobRequest(id=job.id))).job
    return (yield from _steered(session, target, job))


def watched(job_id: str, on_event: Told | None) -> Operation[None]:
    """Tells a job's events, each once and in order, however often the server goes away meanwhile."""
    after = failures = 0

    def take(event: pb.WatchAutoSteerJobResponse) -> None:
        nonlocal after, failures
        after, failures = event.sequence, 0
        if on_event is not None:
            on_event(event)

    while True:
        try:
            yield Stream(WATCH_JOB, pb.WatchAutoSteerJobRequest(id=job_id, after_sequence=after), take)
            return
        except (Unavailable, DeadlineExceeded):
            failures += 1
            if failures > TRIES:
                raise
            yield Pause(PAUSE)


def autoconditional(
    session: Session, specification: str, model: str | Variant, *, max_features: int | None, seed: int | None
) -> Operation[AutoCondition]:
    """A condition that holds where a text is about something."""
    target = yield from session.target(model)
    request = pb.SuggestConditionRequest(
        model=target.model, sae=target.sae, behavior=specification, max_features=max_features, seed=seed
    )
    answer = yield from session.patience.ask(SUGGEST_CONDITION, request)
    return AutoCondition(
        condition_of(answer.condition),
        FeatureGroup(
            Feature(each.feature.index, each.label, each.feature.sae or target.sae) for each in answer.labels
        ),
        answer.threshold,
        answer.auroc,
        answer.true_positive_rate,
        answer.false_positive_rate,
    )


def _steered(session: Session, target: Target, job: pb.AutoSteerJob) -> Operation[AutoSteered]:
    if job.state == pb.AUTO_STEER_STATE_FAILED:
        raise _failure(job.error)
    best = job.result.best if job.HasField("result") else job.best
    edits = edits_of(best.edits)
    by_index = yield from known(session, target, (each.feature.index_in_sae for each in edits))
    return AutoSteered(
        FeatureEdits(Edit(by_index[each.feature.index_in_sae], each.value, each.mode) for each in edits),
        _VERDICTS.get(job.verdict.decision),
        job.verdict.reason,
        best.score,
        tuple(job.result.cut_short),
        job,
    )


def _failure(error: pb.AutoSteerError) -> HearthError:
    return ServerError(grpc.StatusCode.INTERNAL, error.message, reason=error.reason)

"""Messages of auto-steer: requests from what is wanted in words, and answers as Ember writes them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any

from hearth.v1 import autosteer_service_pb2 as pb
from hearth.v1 import prompt_pb2
from services.errors import HearthError, Reason
from services.gateway.ember.cards import Card
from services.gateway.models import ServedModel

PAIRS = 8
"""Of a drafted data set: what the embedded model writes well within the SDK's 30 s."""
UNTESTED = "the time was up before the edits were tested on held-out prompts"
TRY_AGAIN = 60.0
"""Seconds: a quick job and a bit."""
_ROLES = {
    prompt_pb2.ROLE_SYSTEM: "system",
    prompt_pb2.ROLE_USER: "user",
    prompt_pb2.ROLE_ASSISTANT: "assistant",
}


class JobFailed(HearthError):
    """An auto-steer job was given up, for a reason of its own."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = Reason(reason) if reason in list(Reason) else Reason.INTERNAL


class JobsBefore(HearthError):
    """Auto-steer had no time for a job: those before it took all."""

    reason = Reason.QUEUE_FULL

    def __init__(self) -> None:
        super().__init__(
            f"auto-steer works on other jobs, and this one had no turn; try again in {TRY_AGAIN:.0f} s",
            retry_after=TRY_AGAIN,
        )


def job(behavior: str, model: ServedModel, request_id: str) -> pb.CreateAutoSteerJobRequest:
    """Asks for edits, quickly."""
    spec = pb.AutoSteerSpec(
        model=model.id, sae=model.default_sae, behavior=behavior, tier=pb.AUTO_STEER_TIER_QUICK
    )
    return pb.CreateAutoSteerJobRequest(spec=spec, request_id=request_id)


def watched(job_id: str) -> pb.WatchAutoSteerJobRequest:
    """Asks for a job's events."""
    return pb.WatchAutoSteerJobRequest(id=job_id)


def cancelled(job_id: str) -> pb.CancelAutoSteerJobRequest:
    """Ends a job."""
    return pb.CancelAutoSteerJobRequest(id=job_id)


def edited_features(found: pb.AutoSteerJob) -> list[int]:
    """The features that a job's best edits change."""
    return [edit.feature.index for edit in _best(found).edits]


def found_edits(found: pb.AutoSteerJob, cards: Mapping[int, Card]) -> dict[str, Any]:
    """A job's best edits, and what it makes of them. Raises JobFailed, JobsBefore."""
    if found.state == pb.AUTO_STEER_STATE_CANCELLED and not found.HasField("start_time"):
        raise JobsBefore
    if found.state == pb.AUTO_STEER_STATE_FAILED:
        raise JobFailed(found.error.reason, found.error.message)
    best, decided = _best(found), found.HasField("verdict")
    return {
        "edits": [[cards[edit.feature.index].named(), _shortest(edit.nudge)] for edit in best.edits],
        "job_id": found.id,
        "verdict": _small(pb.AutoSteerDecision.Name(found.verdict.decision)) if decided else None,
        "reason": found.verdict.reason if decided else UNTESTED,
        "score": round(best.score, 4),
        "cut_short": list(found.result.cut_short),
    }


def condition(behavior: str, model: ServedModel) -> pb.SuggestConditionRequest:
    """Asks for a condition."""
    return pb.SuggestConditionRequest(model=model.id, sae=model.default_sae, behavior=behavior)


def condition_features(answer: pb.SuggestConditionResponse) -> list[int]:
    """The features that a condition reads."""
    return [key.index for key in answer.condition.comparison.left.features]


def found_condition(answer: pb.SuggestConditionResponse, cards: Mapping[int, Card]) -> dict[str, Any]:
    """A condition, which is a comparison of some features with a number, and how well it works."""
    comparison = {
        "left_hand": {"features": [cards[index].whole() for index in condition_features(answer)]},
        "operator": ">",
        "right_hand": _shortest(answer.threshold),
    }
    return {
        "conditional": {"conditionals": [comparison], "operator": "AND"},
        "auroc": round(answer.auroc, 4),
        "true_positive_rate": round(answer.true_positive_rate, 4),
        "false_positive_rate": round(answer.false_positive_rate, 4),
    }


def draft(behavior: str, model: ServedModel) -> pb.DraftContrastRequest:
    """Asks for examples."""
    return pb.DraftContrastRequest(model=model.id, behavior=behavior, count=PAIRS)


def drafted(answer: pb.DraftContrastResponse) -> list[list[list[dict[str, str]]]]:
    """Two sets of chats, as `contrast` takes them: without the behaviour, and with it."""
    return [_chats(answer.negative), _chats(answer.positive)]


def _best(found: pb.AutoSteerJob) -> pb.AutoSteerTrial:
    return found.result.best if found.HasField("result") else found.best


def _chats(prompts: Iterable[prompt_pb2.Prompt]) -> list[list[dict[str, str]]]:
    return [
        [{"role": _ROLES[said.role], "content": said.content} for said in each.chat.messages]
        or [{"role": "user", "content": each.text}]
        for each in prompts
    ]


def _small(name: str) -> str:
    return name.removeprefix("AUTO_STEER_DECISION_").lower()


def _shortest(value: float) -> float:
    """The shortest decimal number that is this one as a float32."""
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        if struct.unpack("<f", struct.pack("<f", short)) == (value,):
            return short
    return value

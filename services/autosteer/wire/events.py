"""Events of a job's log as messages of hearth.v1."""

from __future__ import annotations

from datetime import datetime

from hearth.v1 import autosteer_service_pb2 as pb
from services.autosteer.progress import (
    CandidatesFound,
    StageProgress,
    StageStarted,
    TrialDone,
    ValidationDone,
)
from services.autosteer.record import Ended, Interrupted, LoggedEvent
from services.autosteer.spec import Candidate
from services.autosteer.wire import encode
from services.steering.wire import feature_to_proto


def event(logged: LoggedEvent) -> pb.WatchAutoSteerJobResponse:
    """The message of an event."""
    message = pb.WatchAutoSteerJobResponse(sequence=logged.sequence, time=encode.time(logged.time))
    match logged.said:
        case StageStarted() as said:
            message.stage_started.stage = encode.STAGES[said.stage]
        case StageProgress() as said:
            message.progress.CopyFrom(_progress(said))
        case CandidatesFound() as said:
            message.candidates.stage = encode.STAGES[said.stage]
            message.candidates.candidates.extend(map(_candidate, said.candidates))
        case TrialDone() as said:
            message.trial.CopyFrom(encode.trial(said.trial))
        case ValidationDone() as said:
            message.validation.CopyFrom(encode.validation(said.validation))
        case Interrupted() as said:
            resume = encode.time(datetime.fromisoformat(said.resume))
            message.interrupted.CopyFrom(pb.AutoSteerInterruption(reason=said.reason, resume_time=resume))
        case Ended() as said:
            message.ended.CopyFrom(_ended(said))
    return message


def _progress(said: StageProgress) -> pb.AutoSteerProgress:
    return pb.AutoSteerProgress(
        stage=encode.STAGES[said.stage],
        done=said.done,
        total=said.total,
        time_left=None if said.seconds_left is None else encode.duration(said.seconds_left),
        best=encode.trial(said.best) if said.best else None,
    )


def _ended(said: Ended) -> pb.AutoSteerEnded:
    return pb.AutoSteerEnded(
        state=encode.STATES[said.state],
        result=encode.outcome(said.result) if said.result else None,
        best=encode.trial(said.best) if said.best else None,
        error=encode.error(said.failure) if said.failure else None,
    )


def _candidate(value: Candidate) -> pb.AutoSteerCandidate:
    return pb.AutoSteerCandidate(
        feature=feature_to_proto(value.feature),
        label=value.label,
        sources=value.sources,
        score=value.score,
        density=value.density,
        similarity=value.similarity,
        effect_size=value.effect_size,
        auroc=value.auroc,
        output_score=value.output_score,
        lift=value.lift,
        sign=value.sign,
        ceiling=value.ceiling,
        promoted=value.promoted,
    )

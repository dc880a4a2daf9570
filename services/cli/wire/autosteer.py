"""Messages of auto-steer and the command line's plain data, each made from the other."""

from __future__ import annotations

from datetime import UTC

from hearth.v1 import autosteer_service_pb2 as pb
from hearth.v1 import steering_pb2
from services.autosteer.progress import (
    CandidatesFound,
    Event,
    StageProgress,
    StageStarted,
    TrialDone,
    ValidationDone,
)
from services.autosteer.spec import (
    Arm,
    Candidate,
    Decision,
    Difference,
    Interval,
    JudgeReport,
    Result,
    Sample,
    Stage,
    Trial,
    Validation,
    Verdict,
)
from services.cli.steered import End, Happening, Pause, SteerJob, SteerWish
from services.steering.edits import Edit
from services.steering.wire import feature_from_proto, steering_from_proto


def spec_message(wish: SteerWish) -> pb.AutoSteerSpec:
    """The message of what is wanted."""
    message = pb.AutoSteerSpec(
        model=wish.model,
        sae=wish.sae,
        behavior=wish.behavior,
        max_features=wish.max_features,
        max_trials=wish.max_trials,
        seed=wish.seed,
        tier=pb.AutoSteerTier.Value(f"AUTO_STEER_TIER_{wish.tier.upper()}"),
        judge=pb.AutoSteerJudge(name=wish.judge, endpoint=wish.endpoint, model=wish.judge_model),
    )
    if wish.seconds is not None:
        message.budget.seconds = wish.seconds
    return message


def job_from_proto(message: pb.AutoSteerJob) -> SteerJob:
    """A job."""
    decision = message.verdict.decision
    return SteerJob(
        id=message.id,
        behavior=message.spec.behavior,
        model=message.spec.model,
        tier=_small(pb.AutoSteerTier.Name(message.spec.tier), "AUTO_STEER_TIER_"),
        state=_small(pb.AutoSteerState.Name(message.state), "AUTO_STEER_STATE_"),
        stage=_small(pb.AutoSteerStage.Name(message.stage), "AUTO_STEER_STAGE_"),
        created=message.create_time.ToDatetime(UTC),
        best=_trial(message.best) if message.HasField("best") else None,
        result=_result(message.result) if message.HasField("result") else None,
        decision=_small(pb.AutoSteerDecision.Name(decision), "AUTO_STEER_DECISION_") if decision else "",
        error=message.error.message,
    )


def happening_from_proto(message: pb.WatchAutoSteerJobResponse) -> Happening | None:
    """An event; None for one that only a newer release knows."""
    said: Event | Pause | End
    match message.WhichOneof("event"):
        case "stage_started":
            said = StageStarted(_stage(message.stage_started.stage))
        case "progress":
            step = message.progress
            left = step.time_left.ToNanoseconds() / 1e9 if step.HasField("time_left") else None
            best = _trial(step.best) if step.HasField("best") else None
            said = StageProgress(_stage(step.stage), step.done, step.total, left, best)
        case "candidates":
            found = message.candidates
            said = CandidatesFound(_stage(found.stage), tuple(map(_candidate, found.candidates)))
        case "trial":
            said = TrialDone(_trial(message.trial))
        case "validation":
            said = ValidationDone(_validation(message.validation))
        case "interrupted":
            said = Pause(message.interrupted.reason)
        case "ended":
            said = End(_small(pb.AutoSteerState.Name(message.ended.state), "AUTO_STEER_STATE_"))
        case _:
            return None
    return Happening(message.sequence, said)


def _small(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower()


def _stage(number: pb.AutoSteerStage.ValueType) -> Stage:
    return Stage(_small(pb.AutoSteerStage.Name(number), "AUTO_STEER_STAGE_"))


def _edits(message: pb.AutoSteerTrial | pb.AutoSteerArm) -> tuple[Edit, ...]:
    return steering_from_proto(steering_pb2.Steering(edits=message.edits)).edits


def _candidate(message: pb.AutoSteerCandidate) -> Candidate:
    return Candidate(
        feature_from_proto(message.feature), message.label, tuple(message.sources), message.score
    )


def _sample(message: pb.AutoSteerSample) -> Sample:
    return Sample(
        message.prompt,
        message.seed,
        message.text,
        message.score,
        message.adherence,
        message.relevance,
        message.fluency,
    )


def _trial(message: pb.AutoSteerTrial) -> Trial:
    return Trial(
        message.number,
        _edits(message),
        message.score,
        message.adherence,
        message.relevance,
        message.fluency,
        tuple(map(_sample, message.samples)),
        message.pruned,
    )


def _interval(message: pb.AutoSteerInterval) -> Interval:
    return Interval(message.mean, message.low, message.high)


def _arm(message: pb.AutoSteerArm) -> Arm:
    return Arm(
        message.name,
        _edits(message),
        _interval(message.score),
        _interval(message.adherence),
        _interval(message.relevance),
        _interval(message.fluency),
        tuple(map(_sample, message.samples)),
        message.trial if message.HasField("trial") else None,
    )


def _validation(message: pb.AutoSteerValidation) -> Validation:
    return Validation(
        tuple(message.prompts),
        tuple(map(_arm, message.arms)),
        tuple(Difference(each.arm, each.over, _interval(each.score)) for each in message.differences),
    )


def _result(message: pb.AutoSteerResult) -> Result:
    decision = _small(pb.AutoSteerDecision.Name(message.verdict.decision), "AUTO_STEER_DECISION_")
    agreement = message.judge.agreement if message.judge.HasField("agreement") else None
    return Result(
        best=_trial(message.best) if message.HasField("best") else None,
        pareto=tuple(map(_trial, message.pareto)),
        validation=_validation(message.validation) if message.HasField("validation") else None,
        verdict=Verdict(Decision(decision), message.verdict.reason),
        judge=JudgeReport(message.judge.name, agreement, message.judge.pairs),
        labels={f"{each.feature.sae}/{each.feature.index}": each.label for each in message.labels},
        cut_short=tuple(message.cut_short),
        seconds=message.elapsed.ToNanoseconds() / 1e9,
    )

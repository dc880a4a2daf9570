"""Jobs, results and suggestions as messages of hearth.v1."""

from __future__ import annotations

from datetime import datetime

from google.protobuf import duration_pb2, timestamp_pb2

from hearth.v1 import autosteer_service_pb2 as pb
from hearth.v1 import steering_pb2
from services.autosteer.clients.messages import prompt_message
from services.autosteer.condition_fit import SuggestedCondition
from services.autosteer.drafting import Pair
from services.autosteer.record import Failure, JobRecord, JobState
from services.autosteer.spec import (
    Arm,
    Decision,
    Interval,
    Result,
    Sample,
    Spec,
    Stage,
    Tier,
    Trial,
    Validation,
    Verdict,
)
from services.steering.wire import condition_to_proto, edit_to_proto, feature_to_proto

TIERS = {
    Tier.QUICK: pb.AUTO_STEER_TIER_QUICK,
    Tier.DEFAULT: pb.AUTO_STEER_TIER_DEFAULT,
    Tier.THOROUGH: pb.AUTO_STEER_TIER_THOROUGH,
}
STATES = {
    JobState.QUEUED: pb.AUTO_STEER_STATE_QUEUED,
    JobState.RUNNING: pb.AUTO_STEER_STATE_RUNNING,
    JobState.SUCCEEDED: pb.AUTO_STEER_STATE_SUCCEEDED,
    JobState.FAILED: pb.AUTO_STEER_STATE_FAILED,
    JobState.CANCELLED: pb.AUTO_STEER_STATE_CANCELLED,
}
STAGES = {
    Stage.DRAFT: pb.AUTO_STEER_STAGE_DRAFT,
    Stage.RETRIEVE: pb.AUTO_STEER_STAGE_RETRIEVE,
    Stage.CAUSAL: pb.AUTO_STEER_STAGE_CAUSAL,
    Stage.SCREEN: pb.AUTO_STEER_STAGE_SCREEN,
    Stage.CEILING: pb.AUTO_STEER_STAGE_CEILING,
    Stage.SEARCH: pb.AUTO_STEER_STAGE_SEARCH,
    Stage.VALIDATE: pb.AUTO_STEER_STAGE_VALIDATE,
}
DECISIONS = {
    Decision.USE: pb.AUTO_STEER_DECISION_USE,
    Decision.PROMPT_INSTEAD: pb.AUTO_STEER_DECISION_PROMPT_INSTEAD,
    Decision.NO_SAFE_STEER: pb.AUTO_STEER_DECISION_NO_SAFE_STEER,
}


def job(record: JobRecord, *, brief: bool = False) -> pb.AutoSteerJob:
    """A job; without samples and result where it is `brief`."""
    result = record.result
    return pb.AutoSteerJob(
        id=record.id,
        spec=spec(record.spec),
        state=STATES[record.state],
        stage=STAGES[record.stage] if record.stage else pb.AUTO_STEER_STAGE_UNSPECIFIED,
        create_time=time(record.created),
        start_time=time(record.started) if record.started else None,
        end_time=time(record.ended) if record.ended else None,
        last_sequence=record.last_sequence,
        best=trial(record.best, brief=brief) if record.best else None,
        result=outcome(result) if result and not brief else None,
        verdict=verdict(result.verdict) if result else None,
        error=error(record.failure) if record.failure else None,
        attempts=record.attempts,
    )


def spec(value: Spec) -> pb.AutoSteerSpec:
    """What is wanted."""
    message = pb.AutoSteerSpec(
        model=value.model,
        sae=value.sae,
        behavior=value.behavior,
        positive=map(prompt_message, value.positive),
        negative=map(prompt_message, value.negative),
        prompts=map(prompt_message, value.prompts),
        max_features=value.max_features,
        seed=value.seed,
        tier=TIERS[value.budget.tier],
        judge=pb.AutoSteerJudge(
            name=value.judge.name, endpoint=value.judge.endpoint, model=value.judge.model
        ),
        temperature=value.temperature,
    )
    if value.max_trials:
        message.max_trials = value.max_trials
    if value.max_tokens:
        message.max_tokens = value.max_tokens
    if value.budget.seconds is not None:
        message.budget.CopyFrom(duration(value.budget.seconds))
    return message


def trial(value: Trial, *, brief: bool = False) -> pb.AutoSteerTrial:
    """A setting and its numbers."""
    return pb.AutoSteerTrial(
        number=value.number,
        edits=map(edit_to_proto, value.edits),
        score=value.score,
        adherence=value.adherence,
        relevance=value.relevance,
        fluency=value.fluency,
        samples=() if brief else map(_sample, value.samples),
        pruned=value.pruned,
    )


def outcome(value: Result) -> pb.AutoSteerResult:
    """What came of a job."""
    report = pb.AutoSteerJudgeReport(name=value.judge.name, pairs=value.judge.pairs)
    if value.judge.agreement is not None:
        report.agreement = value.judge.agreement
    return pb.AutoSteerResult(
        best=trial(value.best) if value.best else None,
        pareto=map(trial, value.pareto),
        validation=validation(value.validation) if value.validation else None,
        verdict=verdict(value.verdict),
        judge=report,
        labels=[_label(key, label) for key, label in value.labels.items()],
        cut_short=value.cut_short,
        elapsed=duration(value.seconds),
    )


def verdict(value: Verdict) -> pb.AutoSteerVerdict:
    """What to do, and why."""
    return pb.AutoSteerVerdict(decision=DECISIONS[value.decision], reason=value.reason)


def validation(value: Validation) -> pb.AutoSteerValidation:
    """All arms on held-out prompts."""
    return pb.AutoSteerValidation(
        prompts=value.prompts,
        arms=map(_arm, value.arms),
        differences=[
            pb.AutoSteerDifference(arm=each.arm, over=each.over, score=_interval(each.score))
            for each in value.differences
        ],
    )


def error(value: Failure) -> pb.AutoSteerError:
    """Why a job was given up."""
    return pb.AutoSteerError(reason=value.reason, message=value.message)


def contrast(pairs: list[Pair]) -> pb.DraftContrastResponse:
    """Drafted examples."""
    return pb.DraftContrastResponse(
        positive=[prompt_message(pair.positive) for pair in pairs],
        negative=[prompt_message(pair.negative) for pair in pairs],
    )


def condition(found: SuggestedCondition) -> pb.SuggestConditionResponse:
    """A condition and its numbers."""
    comparison = found.condition
    return pb.SuggestConditionResponse(
        condition=condition_to_proto(comparison),
        labels=[
            pb.AutoSteerLabel(feature=feature_to_proto(feature), label=label)
            for feature, label in zip(comparison.left, found.labels, strict=True)
        ],
        threshold=comparison.right if isinstance(comparison.right, float) else 0.0,
        auroc=found.auroc,
        false_positive_rate=found.false_positive_rate,
        true_positive_rate=found.true_positive_rate,
        positives=found.positives,
        negatives=found.negatives,
    )


def time(moment: datetime) -> timestamp_pb2.Timestamp:
    """A moment."""
    message = timestamp_pb2.Timestamp()
    message.FromDatetime(moment)
    return message


def duration(seconds: float) -> duration_pb2.Duration:
    """A length of time."""
    message = duration_pb2.Duration()
    message.FromNanoseconds(round(seconds * 1e9))
    return message


def _label(key: str, label: str) -> pb.AutoSteerLabel:
    sae, _, index = key.rpartition("/")
    return pb.AutoSteerLabel(feature=steering_pb2.FeatureKey(sae=sae, index=int(index)), label=label)


def _sample(value: Sample) -> pb.AutoSteerSample:
    return pb.AutoSteerSample(
        prompt=value.prompt,
        seed=value.seed,
        text=value.text,
        score=value.score,
        adherence=value.adherence,
        relevance=value.relevance,
        fluency=value.fluency,
    )


def _interval(value: Interval) -> pb.AutoSteerInterval:
    return pb.AutoSteerInterval(mean=value.mean, low=value.low, high=value.high)


def _arm(value: Arm) -> pb.AutoSteerArm:
    return pb.AutoSteerArm(
        name=value.name,
        edits=map(edit_to_proto, value.edits),
        score=_interval(value.score),
        adherence=_interval(value.adherence),
        relevance=_interval(value.relevance),
        fluency=_interval(value.fluency),
        samples=map(_sample, value.samples),
        trial=value.trial,
    )

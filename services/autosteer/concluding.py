"""What a job concludes from its trials and its validation."""

from __future__ import annotations

from collections.abc import Sequence

from services.autosteer.job import Job
from services.autosteer.objective import pareto_front
from services.autosteer.search import best_of
from services.autosteer.spec import Candidate, Decision, Result, Trial, Validation, Verdict
from services.autosteer.verdict import decide


async def conclude(
    job: Job, found: Sequence[Candidate], trials: Sequence[Trial], validation: Validation | None
) -> Result:
    """The result: the finalist that held-out prompts chose, the front of all trials, the verdict."""
    verdict = decide(validation)
    best = best_of(trials)
    if validation is not None and validation.differences:
        name = validation.differences[0].arm
        number = next(arm.trial for arm in validation.arms if arm.name == name)
        best = next((trial for trial in trials if trial.number == number), best)
    elif best is not None:
        verdict = Verdict(
            Decision.NO_SAFE_STEER, "There was no time to validate: nothing is known of the edits."
        )
    elif validation is None and job.cuts:
        verdict = Verdict(
            Decision.NO_SAFE_STEER,
            "There was no time to try any edits: nothing is known of what steering can do.",
        )
    labels = {f"{each.feature.sae}/{each.feature.index}": each.label for each in found}
    front = pareto_front(trials)
    shown = {f"{e.feature.sae}/{e.feature.index}" for t in (*front, *filter(None, [best])) for e in t.edits}
    return Result(
        best,
        front,
        validation,
        verdict,
        await job.judge_report(),
        {key: labels.get(key, "") for key in sorted(shown)},
        tuple(job.cuts),
        round(job.clock.spent, 1),
    )

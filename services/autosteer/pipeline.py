"""A job from its spec to its result: the stages in order, each kept once it is done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from services.autosteer.candidates import leading
from services.autosteer.causal import causal_filter
from services.autosteer.ceiling import ceilings
from services.autosteer.concluding import conclude
from services.autosteer.drafting import Pair, PromptSets, draft_pairs, pairs_of, prompt_sets, template_pairs
from services.autosteer.job import Cancelled, Checkpoints, Job, Tell, running
from services.autosteer.judges.gold import Agreements
from services.autosteer.judges.registry import Encode
from services.autosteer.pace import validated
from services.autosteer.progress import CandidatesFound, TrialDone, ValidationDone
from services.autosteer.proposal import propose
from services.autosteer.screen import TOGETHER, Screened, screen
from services.autosteer.search import Race, Search, best_of, finalists_of
from services.autosteer.space import Space
from services.autosteer.spec import (
    Candidate,
    Result,
    Sample,
    Spec,
    Stage,
    Trial,
    Validation,
)
from services.autosteer.upstream import FeatureCatalogue, Inference
from services.autosteer.validation import Reach, contenders, parts, random_feature, summary, validate
from services.autosteer.wording import number_of

__all__ = ["Cancelled", "Checkpoints", "Tell", "run"]

TEMPLATES = 16
"""Pairs from templates where the model drafts none."""
DRAFTED_BY, PROBED_BY, SCREENED_BY, CEILINGS_BY, SEARCHED_BY = 0.15, 0.3, 0.5, 0.6, 0.8
"""Shares of the budget by which stages are over, whatever they have done. On time none of them is reached."""
GRACE = 0.05
"""Share for what a stage has begun by then."""


async def run(
    spec: Spec,
    inference: Inference,
    catalogue: FeatureCatalogue,
    checkpoints: Checkpoints,
    tell: Tell,
    cancelled: asyncio.Event,
    *,
    encode: Encode,
    judge_key: str = "",
    now: Callable[[], float] = time.monotonic,
    agreements: Agreements | None = None,
) -> Result:
    """Searches for edits that bring the behaviour about.

    `encode` is the sentence encoder; `judge_key` the bearer token of a judge's endpoint, where it needs one; `now` a
    clock in seconds, by which the budget is kept; `agreements` what other jobs found of judges. Run again with the same
    checkpoints it goes on where it was. Raises Cancelled once `cancelled` is set, at once even inside a generation;
    DependencyUnavailable where inference, features or a judge's endpoint do not answer; InvalidField where the spec
    names what is not served.
    """
    job = await Job.begin(
        spec, inference, catalogue, checkpoints, tell, encode, judge_key, now, agreements or Agreements()
    )
    work = asyncio.create_task(_stages(job))
    stop = asyncio.create_task(cancelled.wait())
    try:
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise Cancelled
        return work.result()
    finally:
        for task in (work, stop):
            task.cancel()
        await asyncio.gather(work, stop, return_exceptions=True)
        await job.close()


async def _stages(job: Job) -> Result:
    pairs = await job.stage(Stage.DRAFT, tuple[Pair, ...], lambda: _draft(job))
    await job.try_judge(DRAFTED_BY)
    sets = _prompts(job)
    found = await job.stage(Stage.RETRIEVE, tuple[Candidate, ...], lambda: _retrieve(job, pairs))
    probed = await job.stage(Stage.CAUSAL, tuple[Candidate, ...], lambda: _probe(job, found, pairs))
    screened = await job.stage(Stage.SCREEN, Screened, lambda: _screen(job, probed, sets))
    features = await job.stage(Stage.CEILING, tuple[Candidate, ...], lambda: _ceilings(job, screened, sets))
    with running(Stage.SEARCH):
        trials = await _search(job, features, sets)
    taken = [each.feature.index for each in found]
    validation = await job.stage(
        Stage.VALIDATE, Validation, lambda: _validate(job, trials, taken, sets), optional=True
    )
    if validation is not None:
        await job.tell(ValidationDone(validation))
    return await conclude(job, found, trials, validation)


async def _draft(job: Job) -> tuple[Pair, ...]:
    spec, plan = job.spec, job.plan
    chats = job.served.has_chat_template
    own = await pairs_of(spec, job.inference, has_chat_template=chats) if spec.positive else []
    if own or not plan.pairs:
        return tuple(own or template_pairs(job.brief.behavior, TEMPLATES, has_chat_template=chats))
    drafted = await job.within(
        DRAFTED_BY,
        draft_pairs(
            job.brief.behavior,
            job.brief.instruction,
            plan.pairs,
            job.inference,
            job.encode,
            seed=spec.seed,
            has_chat_template=chats,
            temperature=spec.temperature,
        ),
    )
    if drafted is None:
        await job.cut("contrast pairs come from templates: drafting took too long")
    return tuple(drafted or template_pairs(job.brief.behavior, TEMPLATES, has_chat_template=chats))


def _prompts(job: Job) -> PromptSets:
    return prompt_sets(
        job.spec.prompts,
        max(job.plan.train_prompts, job.plan.screen_prompts),
        job.plan.held_out_prompts,
        job.spec.seed,
        has_chat_template=job.served.has_chat_template,
    )


async def _retrieve(job: Job, pairs: Sequence[Pair]) -> tuple[Candidate, ...]:
    found = await propose(
        job.brief.behavior,
        pairs,
        job.served.sae,
        job.plan.retrieved,
        job.inference,
        job.catalogue,
        job.encode,
    )
    await job.tell(CandidatesFound(Stage.RETRIEVE, tuple(leading(found, job.plan.probed))))
    return tuple(found)


async def _probe(job: Job, found: Sequence[Candidate], pairs: Sequence[Pair]) -> tuple[Candidate, ...]:
    plan = job.plan
    kept = await job.within(
        PROBED_BY + GRACE,
        causal_filter(
            leading(found, plan.probed),
            pairs,
            plan.probe_texts,
            plan.probed_kept,
            job.served.strength_constant,
            job.inference,
            job.progress(Stage.CAUSAL),
            lambda: job.clock.spent < PROBED_BY * job.clock.limit,
        ),
    )
    if kept is None:
        kept = leading(found, plan.probed_kept)
    if any(each.lift is None for each in kept):
        await job.cut("the causal filter: not all candidates were probed")
    await job.tell(CandidatesFound(Stage.CAUSAL, tuple(kept)))
    return tuple(kept)


async def _screen(job: Job, probed: Sequence[Candidate], sets: PromptSets) -> Screened:
    plan, places = job.plan, job.places(sets.train[: job.plan.screen_prompts])
    group = job.pace.takes(TOGETHER)
    done = await job.within(
        SCREENED_BY + GRACE,
        screen(
            probed,
            plan.shares,
            places,
            plan.screened_kept,
            job.served.strength_constant,
            job.desk,
            job.progress(Stage.SCREEN),
            lambda: job.clock.spent + group < SCREENED_BY * job.clock.limit,
        ),
    )
    if done is None:
        await job.cut("the screen: candidates go into the search as the causal filter ranked them")
        done = Screened(tuple(leading(probed, plan.screened_kept)), ())
    elif (seen := len({each.feature for each in done.tried})) < len(probed):
        await job.cut(f"the screen saw {seen} of {len(probed)} candidates")
    await job.tell(CandidatesFound(Stage.SCREEN, done.candidates))
    return done


async def _ceilings(job: Job, screened: Screened, sets: PromptSets) -> tuple[Candidate, ...]:
    plan, places = job.plan, job.places(sets.train[: job.plan.ceiling_prompts])
    one = job.pace.takes(len(screened.candidates) * len(places))

    done = await job.within(
        CEILINGS_BY + GRACE,
        ceilings(
            screened.candidates,
            screened.tried,
            plan.ceiling_rounds,
            places,
            job.served.strength_constant,
            job.desk,
            job.progress(Stage.CEILING),
            lambda: job.clock.spent + one < CEILINGS_BY * job.clock.limit,
        ),
    )
    if done is None:
        await job.cut("ceilings are those of the screen: their measurement took too long")
        done = await ceilings(
            screened.candidates, screened.tried, 0, (), job.served.strength_constant, job.desk, job.silent
        )
    await job.tell(CandidatesFound(Stage.CEILING, tuple(done)))
    return tuple(done)


async def _search(job: Job, features: Sequence[Candidate], sets: PromptSets) -> list[Trial]:
    await job.starts(Stage.SEARCH)
    if not features:
        return []
    plan, spec = job.plan, job.spec
    places = job.places(sets.train[: plan.train_prompts])
    space = Space(tuple(features), min(spec.max_features, len(features)), job.served.strength_constant)
    recorded = await job.checkpoints.trials()
    search = Search(space, Race(plan.trials, plan.wave, spec.seed), places, job.desk, recorded)
    reserve = job.pace.takes(validated(plan, len(sets.held_out)))
    told = job.progress(Stage.SEARCH)
    trials: list[Trial] = []

    async def found(trial: Trial) -> None:
        trials.append(trial)
        await job.checkpoints.add_trial(trial)
        job.best = best_of(trials)
        await job.tell(TrialDone(trial))
        await told(len(trials), plan.trials)
        await job.keep_time()

    share = 1.0 - min(1.0 - SEARCHED_BY, reserve / job.clock.limit)

    def fit() -> int:
        return max(0, int((job.clock.left - reserve) / job.pace.takes(len(places))))

    await search.run(found, fit, lambda work: job.within(share, work))
    if len(trials) < plan.trials:
        await job.cut(f"the search made {len(trials)} of {plan.trials} trials")
    return trials


async def _validate(
    job: Job, trials: Sequence[Trial], taken: Sequence[int], sets: PromptSets
) -> Validation | None:
    plan, served = job.plan, job.served
    finalists = finalists_of(trials, plan.finalists)
    if not (finalists or job.brief.instruction):
        return None
    control = (
        random_feature(served.sae, served.feature_count, taken, job.spec.seed) if plan.controls else None
    )
    if finalists and control is None:
        why = "every feature is a candidate" if plan.controls else "they are not part of this budget"
        await job.cut(f"no controls (a random feature, the wrong sign): {why}")
    listed = contenders(finalists, job.brief.instruction, control, served.strength_constant)
    places = job.places(sets.held_out)
    samples: dict[str, list[Sample]] = {arm.name: [] for arm in listed}
    reach = Reach(plan.finalist_prompts, plan.control_prompts)
    await job.within(
        1.0,
        validate(
            parts(listed, samples, reach, len(places)),
            places,
            job.desk,
            samples,
            job.progress(Stage.VALIDATE),
            lambda texts: job.clock.affords(job.pace.takes(texts)),
        ),
    )
    seen = max(map(len, samples.values()))
    if seen < len(places):
        await job.cut(f"the validation saw {seen} of {len(places)} held-out prompts")
    if not seen:
        return None
    prompts = [place.prompt.question for place in places[:seen]]
    return summary(listed, samples, prompts, number_of("bootstrap", job.spec.seed))

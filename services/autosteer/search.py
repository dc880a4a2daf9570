"""The search over weights of a few features: what lies around the best trial and what TPE proposes are tried by turns,
every trial sees the same prompts with the same seeds, and trials that lag behind the best one are dropped by a Wilcoxon
test (racing).

Trials run in waves. Whatever is proposed in a wave depends on the seed and on the trials of earlier waves alone, so a
search that was killed goes on with the same trials.
"""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from services.autosteer.desk import Desk, Place, Wanted
from services.autosteer.objective import FLUENT, mean
from services.autosteer.space import LEAST_DOSE, LEAST_WEIGHT, MOST_DOSE, NONE, Space
from services.autosteer.spec import Sample, Trial
from services.autosteer.wording import number_of
from services.steering.edits import Edit

optuna.logging.set_verbosity(optuna.logging.WARNING)

FIRST_ROUND = 4
"""Prompts after which trials are first compared; then all others."""
P_THRESHOLD = 0.1

Within = Callable[[Coroutine[Any, Any, list[Trial]]], Awaitable[list[Trial] | None]]
"""Has something done; None where time ran out."""


async def unlimited(work: Coroutine[Any, Any, list[Trial]]) -> list[Trial] | None:
    """Has all time."""
    return await work


@dataclass(frozen=True, slots=True)
class Race:
    """How a search runs."""

    trials: int
    wave: int
    seed: int


class Search:
    """One search. `recorded` are the trials of an earlier run of it, which are not tried again."""

    def __init__(
        self, space: Space, race: Race, places: Sequence[Place], desk: Desk, recorded: Sequence[Trial]
    ) -> None:
        self._space, self._race, self._places, self._desk = space, race, places, desk
        self._recorded = {trial.number: trial for trial in recorded}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the pruner is marked experimental
            pruner = optuna.pruners.WilcoxonPruner(p_threshold=P_THRESHOLD, n_startup_steps=2)
            self._study = optuna.create_study(direction="maximize", pruner=pruner)
        for start in space.starts():
            self._study.enqueue_trial(start)

    async def run(
        self,
        found: Callable[[Trial], Awaitable[None]],
        fit: Callable[[], int] | None = None,
        within: Within = unlimited,
    ) -> list[Trial]:
        """All trials. `found` hears each in order of number. `fit` says before each wave how many trials there is
        time for; a wave that `within` breaks off is left out."""
        trials: list[Trial] = []
        while len(trials) < self._race.trials:
            size = min(self._race.wave, self._race.trials - len(trials))
            known = all(n in self._recorded for n in range(len(trials), len(trials) + size))
            if fit is not None and not known:
                size = min(size, fit() if trials else max(1, fit()))  # one is tried in any case
            if size < 1:
                break
            self._refine(trials, size)
            wave = await within(self._wave(size))
            if wave is None:
                break
            for trial in wave:
                trials.append(trial)
                await found(trial)
        return trials

    def _refine(self, trials: Sequence[Trial], size: int) -> None:
        """Has the next wave try what lies around the best, in up to half of its places: with few trials that finds more
        than TPE does."""
        best = best_of(trials)
        if best is None or len(trials) < len(self._space.starts()):
            return
        tried = {frozenset(trial.edits) for trial in trials}
        around = self._space.around(self._study.trials[best.number].params)
        new = [params for params in around if frozenset(self._space.edits(params)) not in tried]
        for params in new[: size // 2]:
            self._study.enqueue_trial(params)

    async def _wave(self, size: int) -> list[Trial]:
        proposed = [self._propose() for _ in range(size)]
        running = [(p, self._space.edits(p.params)) for p in proposed]
        new = [(p, edits) for p, edits in running if p.number not in self._recorded]
        results = dict(zip((p.number for p, _ in new), await self._raced(new), strict=True))
        wave = [self._recorded.get(p.number) or results[p.number] for p in proposed]
        for asked, trial in zip(proposed, wave, strict=True):
            for step, sample in enumerate(trial.samples):
                asked.report(sample.score, step)
            self._study.tell(asked, trial.score)
        return wave

    def _propose(self) -> optuna.trial.Trial:
        """The next trial, whose number alone decides how chance falls."""
        seed = number_of("trial", self._race.seed, len(self._study.trials)) % 2**32
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TPE's options are marked experimental
            self._study.sampler = optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=len(self._space.starts()) + 2, constant_liar=True
            )
            return self._study.ask(_distributions(self._space))

    async def _raced(self, running: Sequence[tuple[optuna.trial.Trial, tuple[Edit, ...]]]) -> list[Trial]:
        """The trials' results; those that lag behind after the first prompts see no more."""
        samples: dict[int, list[Sample]] = {asked.number: [] for asked, _ in running}
        pruned: set[int] = set()
        seen = 0
        for upto in sorted({min(FIRST_ROUND, len(self._places)), len(self._places)}):
            part, seen = self._places[seen:upto], upto
            left = [(asked, edits) for asked, edits in running if asked.number not in pruned]
            judged = await self._desk.judged([Wanted(place, edits) for _, edits in left for place in part])
            for place, (asked, _) in enumerate(left):
                samples[asked.number] += judged[place * len(part) : (place + 1) * len(part)]
            if upto < len(self._places):
                pruned = {asked.number for asked, _ in left if self._lags(asked, samples[asked.number])}
        return [
            trial_of(asked.number, edits, samples[asked.number], asked.number in pruned)
            for asked, edits in running
        ]

    def _lags(self, asked: optuna.trial.Trial, samples: Sequence[Sample]) -> bool:
        frozen = self._study.trials[asked.number]
        frozen.intermediate_values = {step: sample.score for step, sample in enumerate(samples)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a test on samples that are all equal
            return self._study.pruner.prune(self._study, frozen)


def _distributions(space: Space) -> dict[str, BaseDistribution]:
    """A feature and its weight for each slot, and the dose of all; all slots but the first may stay empty."""
    indices = list(range(len(space.features)))
    found: dict[str, BaseDistribution] = {"dose": FloatDistribution(LEAST_DOSE, MOST_DOSE)}
    for slot in range(space.slots):
        found[f"feature {slot}"] = CategoricalDistribution(indices if slot == 0 else [NONE, *indices])
        found[f"weight {slot}"] = FloatDistribution(LEAST_WEIGHT, 1.0)
    return found


def trial_of(number: int, edits: tuple[Edit, ...], samples: Sequence[Sample], pruned: bool) -> Trial:
    """A trial with the means of its samples."""
    return Trial(
        number,
        edits,
        mean([s.score for s in samples]),
        mean([s.adherence for s in samples]),
        mean([s.relevance for s in samples]),
        mean([s.fluency for s in samples]),
        tuple(samples),
        pruned,
    )


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The best that saw all prompts, a fluent one if there is any; the earliest of equals."""
    return min((trial for trial in trials if not trial.pruned), key=_rank, default=None)


def finalists_of(trials: Sequence[Trial], count: int) -> list[Trial]:
    """The best trials of different edits, fluent ones first."""
    chosen: dict[tuple[Edit, ...], Trial] = {}
    for trial in sorted((t for t in trials if not t.pruned), key=_rank):
        chosen.setdefault(tuple(sorted(trial.edits, key=lambda e: e.feature.index)), trial)
    return list(chosen.values())[:count]


def _rank(trial: Trial) -> tuple[bool, float, int]:
    return trial.fluency < FLUENT, -trial.score, trial.number

"""One behaviour: auto-steer first, then all ways on the same prompts and seeds, by the same judge."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from bench.behaviors.behaviors import Behavior
from bench.behaviors.kept import Work
from bench.behaviors.outcome import AUTO, RULE, TOP_HIT, Outcome, Setup
from bench.behaviors.rivals import rule, top_hit
from services.autosteer.clients.features import CatalogueClient
from services.autosteer.clients.inference import InferenceClient
from services.autosteer.desk import Desk, Place
from services.autosteer.drafting import question
from services.autosteer.job import Tell
from services.autosteer.judges.gold import Agreements
from services.autosteer.judges.registry import Bench, Brief, Encode
from services.autosteer.judges.roster import make_judge
from services.autosteer.pipeline import run
from services.autosteer.spec import Budget, JudgeChoice, Result, Sample, Spec, Validation
from services.autosteer.upstream import Served
from services.autosteer.validation import SYSTEM_PROMPT, UNSTEERED, Contender, Part, summary, validate
from services.autosteer.wording import instruction_of, number_of
from services.steering.edits import Edit

NO_TRIAL = -1
"""Stands for the trial where auto-steer found no edits: its texts are then the unsteered ones."""
Labelled = list[tuple[Edit, str]]


@dataclass(frozen=True, slots=True)
class Servers:
    """What runs: both services, and the sentence encoder in this process."""

    inference: grpc.aio.Channel
    features: grpc.aio.Channel
    encode: Encode
    agreements: Agreements = field(default_factory=Agreements)
    """What is known of judges: a worker asks the gold set once, not in every job."""

    def client(self) -> InferenceClient:
        """A client for one job."""
        return InferenceClient(self.inference, "bench")

    @property
    def catalogue(self) -> CatalogueClient:
        """A client of the catalogue."""
        return CatalogueClient(self.features)


async def measure(
    behavior: Behavior,
    setup: Setup,
    servers: Servers,
    work: Work,
    tell: Tell,
    told: Callable[[int, int], Awaitable[None]],
) -> Outcome:
    """Has a behaviour searched for and all ways compared. `tell` hears the job, `told` the comparison."""
    spec = spec_of(behavior, setup)
    inference = servers.client()
    result = await run(
        spec,
        inference,
        servers.catalogue,
        work.checkpoints(behavior.name, setup),
        tell,
        asyncio.Event(),
        encode=servers.encode,
        agreements=servers.agreements,
    )
    started = time.monotonic()
    await told(0, len(setup.prompts))
    served = await inference.served(setup.model, setup.sae)
    hit = await top_hit(spec, served, servers.catalogue)
    ruled = await rule(spec, served, inference, servers.catalogue, servers.encode, servers.inference)
    arms = contenders(behavior, spec, result, hit, ruled)
    measured = await compare(arms, spec, setup, served, inference, servers.encode, told)
    labels = {_key(edit): label for edit, label in (*hit, *ruled)} | result.labels
    date = time.strftime("%Y-%m-%d", time.gmtime())
    return Outcome(
        behavior.name,
        setup,
        result,
        measured,
        dict(sorted(labels.items())),
        round(result.seconds + time.monotonic() - started, 1),
        date,
        code_digest(),
    )


def spec_of(behavior: Behavior, setup: Setup) -> Spec:
    """What a user who types these words asks for: no prompts, so that auto-steer tunes and validates on its own."""
    return Spec(
        behavior.words,
        model=setup.model,
        sae=setup.sae,
        budget=Budget(setup.tier, setup.seconds),
        seed=setup.seed,
        temperature=setup.temperature,
    )


def contenders(
    behavior: Behavior, spec: Spec, result: Result, hit: Labelled, ruled: Labelled
) -> list[Contender]:
    """All ways; auto-steer's is marked by its trial, as the best of a validation is."""
    best = result.best
    return [
        Contender(AUTO, best.edits if best else (), trial=best.number if best else NO_TRIAL),
        Contender(TOP_HIT, tuple(edit for edit, _ in hit)),
        Contender(RULE, tuple(edit for edit, _ in ruled)),
        Contender(SYSTEM_PROMPT, instruction=behavior.instruction or instruction_of(spec)),
        Contender(UNSTEERED),
    ]


async def compare(
    arms: list[Contender],
    spec: Spec,
    setup: Setup,
    served: Served,
    inference: InferenceClient,
    encode: Encode,
    told: Callable[[int, int], Awaitable[None]],
) -> Validation:
    """All ways on the benchmark's prompts, judged as auto-steer judges its own validation."""
    brief = Brief(spec.behavior, instruction_of(spec))
    judge = make_judge(JudgeChoice(), Bench(brief, encode, inference))
    desk = Desk(inference, judge, tokens=setup.tokens, temperature=setup.temperature)
    prompts = [question(text, served.has_chat_template) for text in setup.prompts]
    samples: dict[str, list[Sample]] = {each.name: [] for each in arms}
    try:
        places = [Place.of(prompt, setup.seed) for prompt in prompts]
        await validate([Part(len(places), lambda: arms)], places, desk, samples, told)
    finally:
        await judge.close()
    return summary(arms, samples, [p.question for p in prompts], number_of("bootstrap", setup.seed))


def code_digest() -> str:
    """Of the source of auto-steer's modules that are in use, and of what stands beside them."""
    modules = [module for name, module in sys.modules.items() if name.startswith("services.autosteer")]
    sources = {Path(file) for module in modules if (file := getattr(module, "__file__", None))}
    tables = {table for source in sources for table in source.parent.glob("*.toml")}
    digest = hashlib.sha256()
    for path in sorted(sources | tables):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _key(edit: Edit) -> str:
    return f"{edit.feature.sae}/{edit.feature.index}"

"""Other judges of the texts that are there, and how far each judge agrees with the gold set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from bench.behaviors.kept import Work
from bench.behaviors.measuring import Servers
from bench.behaviors.outcome import Judges, Outcome, arm
from services.autosteer.judges.registry import Asked, Bench, Brief, Judge
from services.autosteer.judges.roster import make_judge
from services.autosteer.judges.rules import fault
from services.autosteer.objective import BROKEN, sample_of
from services.autosteer.spec import JudgeChoice, JudgeReport, Prompt, Sample, Spec, Validation
from services.autosteer.upstream import Served
from services.autosteer.validation import UNSTEERED, Contender, summary
from services.autosteer.wording import instruction_of, number_of


async def with_agreement(
    choices: Sequence[JudgeChoice], servers: Servers, served: Served, key: str, work: Work
) -> Judges:
    """Each judge with the share of gold pairs that it ranks as people do; asked once."""
    known = {report.name: report for report in work.judges().reports}
    for choice in choices:
        name = name_of(choice)
        if name not in known:
            inference = servers.client()
            await inference.served(served.model, served.sae)
            share, pairs = await servers.agreements.of(
                served.model,
                choice,
                inference,
                servers.encode,
                key,
                has_chat_template=served.has_chat_template,
            )
            known[name] = JudgeReport(name, share, pairs)
            work.keep_judges(Judges(tuple(known.values())))
    return Judges(tuple(known.values()))


def name_of(choice: JudgeChoice) -> str:
    """As the judge itself is called, and reports with it."""
    return f"{choice.name}:{choice.model}" if choice.model else choice.name


async def second_opinion(
    outcome: Outcome, words: str, choice: JudgeChoice, servers: Servers, key: str, tell: Callable[[str], None]
) -> Outcome:
    """The outcome with what a judge that reads nothing but the texts says of them; asked once."""
    name = name_of(choice)
    if name in outcome.opinions:
        return outcome
    brief = Brief(words, instruction_of(Spec(words)))
    judge = make_judge(choice, Bench(brief, servers.encode, servers.client(), key))
    try:
        tell(f"{outcome.name}: {name} judges {sum(len(a.samples) for a in outcome.measured.arms)} texts")
        opinion = await rejudged(outcome.measured, judge, number_of("bootstrap", outcome.setup.seed))
    finally:
        await judge.close()
    return replace(outcome, opinions={**outcome.opinions, name: opinion})


async def rejudged(validation: Validation, judge: Judge, seed: int) -> Validation:
    """The same texts by another judge; it sees those that the rules let through, as in a search."""
    plain = [sample.text for sample in arm(validation, UNSTEERED).samples]
    samples: dict[str, list[Sample]] = {}
    for each in validation.arms:
        sound = [n for n, sample in enumerate(each.samples) if not fault(sample.text)]
        asked = [
            # Likelihoods are not kept: judges by endpoint do without.
            Asked(Prompt.ask(each.samples[n].prompt), each.samples[n].text, plain[n], 0.0, 0.0)
            for n in sound
        ]
        scores = dict(zip(sound, await judge(asked), strict=True))
        samples[each.name] = [
            sample_of(sample.prompt, sample.seed, sample.text, scores.get(n, BROKEN))
            for n, sample in enumerate(each.samples)
        ]
    arms = [Contender(each.name, each.edits, trial=each.trial) for each in validation.arms]
    return summary(arms, samples, validation.prompts, seed)

"""`python -m bench.behaviors`: auto-steer beside a feature chosen by hand, Ember's rule, a system prompt and nothing.

For each of the 20 behaviours of behaviors.toml the pipeline of services/autosteer makes edits with a running `hearth
up`. Then all ways answer the same prompts, on which the pipeline has tuned nothing, with the same seeds, and the
pipeline's offline judge scores them all alike; with --judge-model an OpenAI-compatible endpoint scores the same texts
too.

A behaviour that is done lies in the work folder; a run that was killed goes on where it was.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.behaviors import samples
from bench.behaviors.behaviors import Behavior, behaviors, questions
from bench.behaviors.judging import second_opinion, with_agreement
from bench.behaviors.kept import OtherSetup, Work
from bench.behaviors.measuring import Servers, measure
from bench.behaviors.outcome import AUTO, Judges, Outcome, Setup, arm
from bench.behaviors.progress import Progress, usual_seconds
from bench.behaviors.report import report
from bench.machine import describe
from services.autosteer.spec import Budget, JudgeChoice, Spec, Tier
from services.autosteer.tiers import TIERS, plan_of
from services.autosteer.upstream import Served
from services.encoder.minilm import ensure_minilm, load_encoder
from services.errors import HearthError
from services.rpc.channel import connect

SCRATCH = Path(__file__).parents[1] / "scratch" / "behaviors"


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.behaviors",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--inference", default="localhost:50051")
    parser.add_argument("--features", default="localhost:50052")
    parser.add_argument("--model", default="", help="the only one served unless given")
    parser.add_argument("--sae", default="", help="the model's only one unless given")
    parser.add_argument("--tier", choices=[tier.value for tier in Tier], default=Tier.DEFAULT.value)
    parser.add_argument("--seconds", type=float, help="the pipeline's budget (the tier's)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="may be given several times"
    )
    parser.add_argument("--list", action="store_true", help="the behaviours, and which are done")
    parser.add_argument("--prompts", type=int, help="only so many of the prompts, to see that it works")
    parser.add_argument("--judge-model", default="", help="a second judge; needs --judge-endpoint")
    parser.add_argument("--judge-endpoint", default="", help="base URL, such as http://127.0.0.1:8000/v1")
    parser.add_argument("--judge-key-file", type=Path, help="a file with the endpoint's bearer token")
    parser.add_argument("--work", type=Path, help="the work folder (bench/scratch/behaviors/TIER)")
    parser.add_argument(
        "--out", type=Path, help="the report, and beside it every text (standard output alone)"
    )
    chosen = parser.parse_args(argv)
    chosen.tier = Tier(chosen.tier)
    chosen.work = chosen.work or SCRATCH / chosen.tier.value
    unknown = [name for name in chosen.only if name not in behaviors()]
    if unknown:
        parser.error(f"no behaviour named {', '.join(unknown)}; there are {', '.join(behaviors())}")
    if bool(chosen.judge_model) != bool(chosen.judge_endpoint):
        parser.error("--judge-model and --judge-endpoint: both or neither")
    if chosen.prompts is not None and not 1 <= chosen.prompts <= len(questions()):
        parser.error(f"--prompts: 1 to {len(questions())}")
    return chosen


def setup_of(chosen: argparse.Namespace, served: Served) -> Setup:
    """What all numbers of one table have in common."""
    spec = Spec(budget=Budget(chosen.tier, chosen.seconds))
    plan = plan_of(spec)
    return Setup(
        served.model,
        served.sae,
        chosen.tier,
        chosen.seed,
        tuple(questions()[: chosen.prompts]),
        plan.tokens,
        spec.temperature,
        plan.seconds,
    )


async def run(
    chosen: argparse.Namespace, asked: dict[str, Behavior], work: Work
) -> tuple[list[Outcome], Judges]:
    """All behaviours that are asked for: what is there, and what is made now."""
    encode = load_encoder(ensure_minilm(), threads=1)
    async with connect(chosen.inference) as inference, connect(chosen.features) as features:
        servers = Servers(inference, features, encode)
        served = await servers.client().served(chosen.model, chosen.sae)
        setup = setup_of(chosen, served)
        work.check(setup, behaviors())
        left = [each for each in asked.values() if work.outcome(each.name) is None]
        known = [each.seconds for each in work.outcomes(behaviors())]
        usual = usual_seconds(TIERS[chosen.tier], setup.seconds, len(setup.prompts))
        progress = Progress(sys.stderr, len(left), known, usual)
        for behavior in left:
            progress.begins(behavior.name)
            outcome = await measure(behavior, setup, servers, work, progress.job, progress.comparison)
            work.keep(outcome)
            score = arm(outcome.measured, AUTO).score.mean
            progress.ends(outcome.seconds, f"{score:.2f}, {outcome.decision.name}")
        choices = [JudgeChoice()]
        key = chosen.judge_key_file.read_text("utf-8").strip() if chosen.judge_key_file else ""
        if chosen.judge_model:
            choices.append(JudgeChoice("openai", chosen.judge_endpoint, chosen.judge_model))
        for name, behavior in asked.items():
            for choice in choices[1:]:
                done = work.outcome(name)
                if done is not None:
                    work.keep(await second_opinion(done, behavior.words, choice, servers, key, progress.says))
        return work.outcomes(asked), await with_agreement(choices, servers, served, key, work)


def main(argv: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if argv is None else list(argv)
    chosen = arguments(given)
    work, table = Work(chosen.work), behaviors()
    if chosen.list:
        print("\n".join(listed(table, work)))
        return 0
    asked = {name: each for name, each in table.items() if not chosen.only or name in chosen.only}
    machine = describe()
    try:
        outcomes, judges = asyncio.run(run(chosen, asked, work))
    except (HearthError, OtherSetup) as failure:
        print(f"\n{failure}\nRun it again: what is done is kept in {work.folder}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nStopped; what is done is kept in {work.folder}.", file=sys.stderr)
        return 130
    file = samples.write(outcomes, chosen.out or work.folder / "texts")
    shown = file.name if chosen.out else str(file)
    text = report(outcomes, table, judges, head(given, outcomes, machine), shown)
    if chosen.out:
        chosen.out.write_text(text, "utf-8")
    print(text)
    return 0


def head(given: Sequence[str], outcomes: Sequence[Outcome], machine: str) -> str:
    """The command, when and how long, and on what."""
    command = shlex.join(["python", "-m", "bench.behaviors", *given])
    dates = sorted({each.date for each in outcomes})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    minutes = sum(each.seconds for each in outcomes) / 60
    return f"# Auto-steer on {len(outcomes)} behaviours\n\n    {command}\n\n{when}, {minutes:.0f} minutes.\n\n{machine}"


def listed(table: dict[str, Behavior], work: Work) -> list[str]:
    """A line for each behaviour."""
    lines = []
    for name, each in table.items():
        outcome = work.outcome(name)
        done = "" if outcome is None else f"  done {outcome.date}: {outcome.decision.name}"
        lines.append(f"{name:12} {each.kind:9} {each.words}{done}")
    return lines


if __name__ == "__main__":
    sys.exit(main())

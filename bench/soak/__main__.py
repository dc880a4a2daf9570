"""The big test: many researchers at once on the whole platform, while parts of it die.

`make soak`, or `python -m bench.soak --minutes 20 --researchers 250 --seed 1 --out DIR`. bench/README.md says what is
checked and how. Ends with 1 where a claim fails.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.gateway_processes import ROOT
from bench.machine import describe
from bench.soak import report, sdk
from bench.soak.plan import Options, schedule, way_of
from bench.soak.progress import Progress
from bench.soak.run import run


def main(argv: Sequence[str] | None = None) -> int:
    """Runs, reports, judges."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, help="how long the researchers work (20)")
    parser.add_argument("--researchers", type=int, default=250, help="how many (250)")
    parser.add_argument(
        "--seed", type=int, default=1, help="of who does what, and of what goes wrong when (1)"
    )
    parser.add_argument("--no-chaos", action="store_true", help="nothing goes wrong")
    parser.add_argument(
        "--postgres", action="store_true", help="PostgreSQL for all that SQL keeps; it crashes too"
    )
    parser.add_argument(
        "--think", type=float, help="seconds from an answer to the next step (as the engine bears)"
    )
    parser.add_argument("--replays", type=int, default=100, help="texts that are asked again alone (100)")
    parser.add_argument("--out", type=Path, default=ROOT / "bench/scratch/soak", help="folder of the report")
    parser.add_argument("--again", action="store_true", help="only write the report of --out again")
    parser.add_argument(
        "--fill", type=Path, metavar="FILE", help="only put the summary of --out into a document"
    )
    chosen = parser.parse_args(argv)
    if chosen.fill:
        report.fill(chosen.out, chosen.fill)
        return 0
    options = Options(
        minutes=chosen.minutes,
        researchers=chosen.researchers,
        seed=chosen.seed,
        chaos=not chosen.no_chaos,
        postgres=chosen.postgres,
        think=chosen.think,
        replays=chosen.replays,
        out=chosen.out,
    )
    if not chosen.again:
        if not sdk.installed():
            parser.error("Ember's SDK is not installed: `make soak` does so")
        options.out.mkdir(parents=True, exist_ok=True)
        words = ["python", "-m", "bench.soak", *(sys.argv[1:] if argv is None else argv)]
        for each in schedule(options):
            print(f"{each.at:7.0f} s  {each.name}")
        with Progress(options) as progress:
            asyncio.run(run(options, _about(options, shlex.join(words)), progress))
    outcome = report.write(options.out)
    print(report.verdicts(outcome))
    print(f"\n{options.out / report.FILE}")
    return int(any(each.holds is False for each in outcome.verdicts))


def _about(options: Options, command: str) -> dict[str, object]:
    ways = Counter(way_of(number, options.researchers) for number in range(options.researchers))
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit.stdout.strip(),
        "minutes": options.minutes,
        "researchers": options.researchers,
        "ways": ", ".join(f"{count} through {way}" for way, count in sorted(ways.items())),
        "seed": options.seed,
        "think": options.think_seconds,
        "database": "PostgreSQL and Valkey" if options.postgres else "SQLite and Valkey",
        "schedule": [[each.at, each.kind, each.target] for each in schedule(options)],
        "machine": describe(),
    }


if __name__ == "__main__":
    sys.exit(main())

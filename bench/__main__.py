"""`python -m bench [NAMES] [--quick] [--rounds N]`: runs benchmarks and writes bench/RESULTS.md."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench import gateway, overhead
from bench.machine import describe
from bench.peers.process import Peers, end_orderly
from bench.peers.registry import PEERS
from bench.races import run_race
from bench.report import render_race
from bench.shapes import SHAPES
from bench.suite import RACES
from services.inference.embedded import ensure_embedded_model

NAMES = ["throughput", "overhead", *(name for name in RACES if name != "throughput"), "gateway"]


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones (all): {', '.join(NAMES)}")
    parser.add_argument(
        "--quick", action="store_true", help="a small run, to see that everything works; one round"
    )
    parser.add_argument("--rounds", type=int, help="how many rounds (3; 1 with --quick)")
    parser.add_argument(
        "--peers",
        default="",
        metavar="REGEX",
        help="only entrants whose peer matches; the subject always runs",
    )
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--model", help="a Hugging Face folder (the embedded model)")
    model.add_argument(
        "--shape", choices=sorted(SHAPES), help="random weights in a Llama's shape (not with vLLM)"
    )
    parser.add_argument(
        "--threads", type=int, default=len(os.sched_getaffinity(0)), help="for every peer (all cores)"
    )
    parser.add_argument(
        "--out", type=Path, help="where the tables go (bench/RESULTS.md; standard output with --quick)"
    )
    chosen = parser.parse_args(argv)
    unknown = [name for name in chosen.names if name not in NAMES]
    if unknown:
        parser.error(f"no benchmark named {', '.join(unknown)}; there are {', '.join(NAMES)}")
    return chosen


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what was asked for; a peer that cannot run is left out and named under the table."""
    given = sys.argv[1:] if argv is None else list(argv)
    chosen = arguments(given)
    rounds = chosen.rounds or (1 if chosen.quick else 3)
    started, machine = time.time(), describe(chosen.threads)
    parts = []
    end_orderly()
    with Peers(PEERS, _source(chosen), chosen.threads) as peers:
        for name in chosen.names or NAMES:
            if name == "overhead":
                parts.append(overhead.run(peers, rounds, chosen.quick, _tell))
            elif name == "gateway":
                parts.append(gateway.run(rounds, chosen.quick, _tell))
            else:
                race = RACES[name]
                parts.append(
                    render_race(race, run_race(race, peers, rounds, chosen.quick, _tell, chosen.peers))
                )
        about = "\n".join(f"- `{name}`: {text}" for name, text in peers.about.items())
    command = shlex.join(["python", "-m", "bench", *given])
    date = time.strftime("%Y-%m-%d", time.gmtime(started))
    head = (
        f"# Benchmarks\n\n    {command}\n\n{date}, {(time.time() - started) / 60:.0f} minutes, medians of {rounds} "
        "interleaved rounds with their extremes; a ratio is the median of the rounds' own ratios.\n"
        f"Only ratios carry over to other machines.\n\n{machine}\n{about}"
    )
    text = "\n\n".join([head, *parts]) + "\n"
    if chosen.out or not chosen.quick:
        (chosen.out or Path(__file__).parent / "RESULTS.md").write_text(text, "utf-8")
    print(text)
    return 0


def _source(chosen: argparse.Namespace) -> dict[str, str]:
    if chosen.shape:
        return {"shape": chosen.shape}
    return {"model": chosen.model or str(ensure_embedded_model())}


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

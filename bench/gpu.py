"""`python -m bench.gpu`: a randomly initialised Llama on CUDA beside transformers, its static cache compiled.

Needs this checkout's environment with a CUDA build of torch, and no download. `--device cpu --shape tiny` only shows
that everything works.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from bench.measures import throughput
from bench.peers.process import Peers, PeerSpec, end_orderly
from bench.races import Case, Entrant, Race, run_race
from bench.report import render_race
from bench.shapes import SHAPES
from bench.suite import SERIAL_ROWS, STEERED, UNSTEERED, few, requests_at_once
from bench.workload import steered

PEERS = {
    spec.name: spec
    for spec in (
        PeerSpec("hearth", "bench.peers.hearth_engine"),
        PeerSpec("transformers", "bench.peers.transformers_generate"),
        PeerSpec("transformers-static", "bench.peers.transformers_generate", {"static_cache": True}),
    )
}
ENTRANTS = (
    Entrant(STEERED, "hearth", steered),
    Entrant(UNSTEERED, "hearth"),
    Entrant("transformers batched, static cache, compiled", "transformers-static"),
    Entrant("transformers batched", "transformers"),
    Entrant("transformers one by one", "transformers", few, max_batch=1),
)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=sorted(SHAPES), default="8b", help="the model's shape (8b)")
    parser.add_argument("--device", default="cuda", help="where all peers run (cuda)")
    parser.add_argument("--dtype", default="bfloat16", help="what all peers compute in (bfloat16)")
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[1, 8, 32, 128], help="rows at once (1 8 32 128)"
    )
    parser.add_argument("--prompt", type=int, default=64, help="tokens of each prompt (64)")
    parser.add_argument("--new-tokens", type=int, default=128, help="tokens that each row generates (128)")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds (3)")
    parser.add_argument("--no-compile", action="store_true", help="static cache without torch.compile")
    parser.add_argument(
        "--peers", default="", metavar="REGEX", help="only peers that match, and Hearth (all)"
    )
    parser.add_argument("--out", type=Path, help="where the tables go (standard output)")
    return parser.parse_args(argv)


def race(batches: Sequence[int], prompt: int, new_tokens: int) -> Race:
    """The comparison at these sizes."""
    cases = tuple(
        Case(f"batch {n}", partial(requests_at_once, n, prompt, new_tokens, False)) for n in batches
    )
    return Race(
        name="gpu",
        title="Tokens a second",
        explains=f"Prompts of {prompt} and {new_tokens} new tokens, greedy. One by one: {SERIAL_ROWS} rows.",
        entrants=ENTRANTS,
        cases=cases,
        quick_cases=cases,
        measure=throughput,
        metric="decode",
        unit="tokens/s",
        subject=STEERED,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the comparison; a peer that cannot run is left out and named under the table."""
    chosen = arguments(argv)
    chosen_race = race(chosen.batches, chosen.prompt, chosen.new_tokens)
    options = {
        "shape": chosen.shape,
        "device": chosen.device,
        "dtype": chosen.dtype,
        "compile": not chosen.no_compile,
        "max_running": max(chosen.batches),
    }
    end_orderly()
    with Peers(PEERS, options, torch.get_num_threads()) as peers:
        outcome = run_race(chosen_race, peers, chosen.rounds, False, _tell, chosen.peers)
        about = "\n".join(f"- `{name}`: {text}" for name, text in peers.about.items())
    device = torch.cuda.get_device_name() if chosen.device.startswith("cuda") else "CPU"
    head = f"# {chosen.shape} on {device}\n\n{time.strftime('%Y-%m-%d')}, {chosen.rounds} rounds\n\n{about}"
    text = f"{head}\n\n{render_race(chosen_race, outcome)}\n"
    if chosen.out:
        chosen.out.write_text(text, "utf-8")
    print(text)
    return 1 if STEERED in outcome.failures else 0


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""`python -m bench.catalogue`: the feature catalogue through gRPC, with 131,072 features of 384 dimensions.

The features are made from real ones (`made.py`). They are imported into a real features process on a temporary folder,
with vectors of texts, so that nothing is embedded; then searches, lookups, filters, neighbours and recall are measured,
beside numpy and qdrant-client's local mode in this process.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from bench.catalogue import recalls, seeds
from bench.catalogue.asking import Catalogue
from bench.catalogue.made import JITTER, Made, make
from bench.catalogue.questions import Questions
from bench.catalogue.sections import QUICK, TOGETHER, Bench, Counts
from bench.catalogue.service import Imported, Service, import_all, running
from bench.catalogue.tables import measured, render
from bench.machine import describe
from bench.peers.process import end_orderly
from bench.report import number, table
from services.features.encoders import SentenceEncoder, minilm_loader
from services.inference.settings import MODELS_DIR
from services.rpc.channel import connect
from services.saelab.cli_options import default_folder

FEATURES, QUICK_FEATURES = 131_072, 8_192
SEEDS_SHARE = 8
"""At least so many features are made of one seed."""
RECALLED = 400
"""Queries of which recall is taken, at most."""


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.catalogue",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick", action="store_true", help="8,192 features, few calls and one round, to see that it works"
    )
    parser.add_argument("--features", type=int, help="how many features (131072; 8192 with --quick)")
    parser.add_argument("--rounds", type=int, help="how many rounds (3; 1 with --quick)")
    parser.add_argument(
        "--sae", type=Path, default=_embedded(), help="an SAE's folder (the embedded model's)"
    )
    parser.add_argument(
        "--corpus",
        type=Path,
        default=default_folder("corpus"),
        help="of texts, where the SAE has no labels (the lab's)",
    )
    parser.add_argument("--out", type=Path, help="where the tables go (standard output alone)")
    chosen = parser.parse_args(argv)
    chosen.rounds = chosen.rounds or (1 if chosen.quick else 3)
    if chosen.features is not None and chosen.features < 256:
        parser.error("--features: at least 256")
    return chosen


async def run(chosen: argparse.Namespace) -> list[str]:
    """The parts of the report, after its head."""
    count = chosen.features or (QUICK_FEATURES if chosen.quick else FEATURES)
    encoder = minilm_loader(None, threads=1)()
    most = count // SEEDS_SHARE
    made = make(seeds.load(chosen.sae, chosen.corpus, most, encoder, _tell), count, encoder)
    _tell(f"made {len(made):,} features of {len(made.seeds.features):,}")
    async with running() as service:
        imported = await import_all(service, made, _tell)
        parts = [_about(made, encoder), _import_table(imported, service, made)]
        async with connect(service.address) as channel:
            counts = QUICK if chosen.quick else Counts()
            questions = Questions(made.seeds.kept_out, 2 * TOGETHER)
            draw = np.random.default_rng(0)
            bench = Bench(made, Catalogue(channel), questions, encoder, counts, draw)
            sections = bench.sections()
            await bench.warm_up()
            results = await measured(sections, chosen.rounds, _tell)
            parts += [render(section, results) for section in sections]
            labels = questions.labels[:RECALLED]
            neighbors = draw.choice(len(made), len(labels), replace=False).tolist()
            parts.append(await recalls.render(bench.catalogue, made, encoder, labels, neighbors, _tell))
    return parts


def main(argv: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if argv is None else list(argv)
    chosen = arguments(given)
    started, machine = time.time(), describe(len(os.sched_getaffinity(0)))
    end_orderly()
    parts = asyncio.run(run(chosen))
    date = time.strftime("%Y-%m-%d", time.gmtime(started))
    several = f"medians of {chosen.rounds} interleaved rounds with their extremes"
    rounds = several if chosen.rounds > 1 else "one round"
    head = (
        f"    {shlex.join(['python', '-m', 'bench.catalogue', *given])}\n\n{date}, "
        f"{(time.time() - started) / 60:.0f} minutes, {rounds}.\n\n{machine}"
    )
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    text = "\n\n".join([f"{head}\n- load average at the end: {load}\n{parts[0]}", *parts[1:]]) + "\n"
    if chosen.out:
        chosen.out.write_text(text, "utf-8")
    print(text)
    return 0


def _about(made: Made, encoder: SentenceEncoder) -> str:
    width, d_model = made.labels.shape[1], made.decoders.shape[1]
    return "\n".join(
        [
            f"- {len(made):,} features, made of {len(made.seeds.features):,}: {made.seeds.about}; variants have "
            f"noise of {JITTER:g} of their length. Vectors of label and contexts ({width}) and of decoder ({d_model})",
            f"- the embedded engine, qdrant-edge-py {version('qdrant-edge-py')}; encoder {encoder.id}, one thread",
        ]
    )


def _import_table(imported: Imported, service: Service, made: Made) -> str:
    memory = service.memory
    rows = [
        ["sending all features, s", number(imported.sending)],
        ["features a second", number(len(made) / imported.sending)],
        ["commit (indices built, features shown), s", number(imported.commit)],
        ["in all, s", number(imported.sending + imported.commit)],
        ["folder on disk, MiB", number(service.disk_bytes / 2**20)],
        ["memory of the process afterwards, MiB", number(memory["own"] / 2**20)],
        ["and files mapped into it, MiB", number(memory["mapped"] / 2**20)],
    ]
    explains = "BeginImport, BatchUpsertFeatures with the vectors of all texts, CommitImport; once."
    return "\n\n".join(["## Import", explains, table(["import", ""], rows)])


def _embedded() -> Path:
    return min(path.parent for path in MODELS_DIR.rglob("cfg.json"))


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

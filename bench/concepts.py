"""`python -m bench.concepts`: does a search for an everyday concept find features that fire on text about it?

Asks a running `hearth up` for each of the 40 topics of services/saelab/steering_topics.toml by name, in every mode, and
checks what it finds by BatchInspect on sentences that were written about the topics, never by label: a feature fires on
a topic if its largest activation in a sentence ranks the topic's four sentences above those of the other topics
(AUROC of at least 0.9) and it is active in at least two of them. Beside it: features drawn at random
from those that are active on any sentence.
"""

from __future__ import annotations

import argparse
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.stats import rankdata

from hearth.v1 import feature_service_pb2 as features
from hearth.v1 import feature_service_pb2_grpc as features_grpc
from hearth.v1 import inference_service_pb2 as inference
from hearth.v1 import inference_service_pb2_grpc as inference_grpc
from hearth.v1 import prompt_pb2 as prompt

TOPICS = Path(__file__).parents[1] / "services" / "saelab" / "steering_topics.toml"
MODES = ("HYBRID", "LABEL", "CONTEXT", "LEXICAL")
TOP = 10
AUROC = 0.9
FIRING_SENTENCES = 2
PROMPTS = 64
SECONDS = 120.0

Activations = Float[NDArray[np.float32], "sentences features"]


@dataclass(frozen=True)
class Row:
    """What one way of searching found."""

    name: str
    hits: Sequence[Sequence[bool]]
    """For each topic, for each feature that was found, best first: whether it fires on the topic."""

    def markdown(self) -> str:
        any_hit = np.mean([any(each) for each in self.hits])
        precision = np.mean([sum(each) / TOP for each in self.hits])
        first = [1 / (each.index(True) + 1) if True in each else 0.0 for each in map(list, self.hits)]
        return f"| {self.name} | {100 * any_hit:.0f} % | {100 * precision:.0f} % | {np.mean(first):.2f} |"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.concepts", description=__doc__)
    parser.add_argument("--inference", default="localhost:50051")
    parser.add_argument("--features", default="localhost:50052")
    parser.add_argument("--verbose", action="store_true", help="every topic with what was found in HYBRID")
    given = parser.parse_args(argv)
    topics: dict[str, list[str]] = {
        name: topic["sentences"] for name, topic in tomllib.loads(TOPICS.read_text("utf-8"))["topics"].items()
    }
    with grpc.insecure_channel(given.inference) as one, grpc.insecure_channel(given.features) as two:
        sae = (
            inference_grpc.InferenceServiceStub(one)
            .ListModels(inference.ListModelsRequest(), timeout=SECONDS)
            .models[0]
            .saes[0]
        )
        pooled = activations(
            inference_grpc.InferenceServiceStub(one), [s for each in topics.values() for s in each], sae
        )
        fires = {name: firing(pooled, rows) for name, rows in spans(topics).items()}
        stub = features_grpc.FeatureServiceStub(two)
        rows = [Row(mode.lower(), search(stub, sae.id, topics, fires, mode, given.verbose)) for mode in MODES]
    draw = np.random.default_rng(0)
    live = np.flatnonzero(pooled.any(axis=0))
    rows.append(
        Row(
            "drawn at random",
            [fired[draw.choice(live, TOP, replace=False)].tolist() for fired in fires.values()],
        )
    )
    print(
        f"`{sae.id}`, {len(topics)} topics, {time.strftime('%Y-%m-%d', time.gmtime())}; "
        f"{np.mean([fired.sum() for fired in fires.values()]):.1f} features fire on a topic on average, "
        f"on {sum(fired.any() for fired in fires.values())} topics at least one.\n"
    )
    print(
        f"| search | topics with a hit in the top {TOP} | precision at {TOP} | mean reciprocal rank |\n"
        "|---|---:|---:|---:|"
    )
    print("\n".join(row.markdown() for row in rows))
    return 0


def spans(topics: dict[str, list[str]]) -> dict[str, slice]:
    found, start = {}, 0
    for name, sentences in topics.items():
        found[name] = slice(start, start + len(sentences))
        start += len(sentences)
    return found


def activations(
    stub: inference_grpc.InferenceServiceStub, sentences: Sequence[str], sae: inference.Sae
) -> Activations:
    """The largest activation of every feature in every sentence."""
    found = np.zeros((len(sentences), sae.feature_count), np.float32)
    for start in range(0, len(sentences), PROMPTS):
        part = sentences[start : start + PROMPTS]
        answer = stub.BatchInspect(
            inference.BatchInspectRequest(
                prompts=[prompt.Prompt(text=text) for text in part], sae=sae.id, pooling=inference.POOLING_MAX
            ),
            timeout=SECONDS,
        ).activations
        for number in range(len(part)):
            run = slice(answer.starts[number], answer.starts[number + 1])
            found[start + number, list(answer.indices[run])] = list(answer.values[run])
    return found


def firing(pooled: Activations, rows: slice) -> NDArray[np.bool_]:
    """Which features fire on the topic whose sentences those rows are."""
    ranks = rankdata(pooled, axis=0)
    own = rows.stop - rows.start
    auroc = (ranks[rows].sum(axis=0) - own * (own + 1) / 2) / (own * (len(pooled) - own))
    active: NDArray[np.bool_] = (pooled[rows] > 0).sum(axis=0) >= FIRING_SENTENCES
    return np.asarray(active & (auroc >= AUROC), np.bool_)


def search(
    stub: features_grpc.FeatureServiceStub,
    sae: str,
    topics: dict[str, list[str]],
    fires: dict[str, NDArray[np.bool_]],
    mode: str,
    verbose: bool,
) -> list[list[bool]]:
    found = []
    for name in topics:
        request = features.SearchFeaturesRequest(
            query=name, sae=sae, top_k=TOP, mode=features.SearchMode.Value(f"SEARCH_MODE_{mode}")
        )
        hits = stub.SearchFeatures(request, timeout=SECONDS).hits
        found.append([bool(fires[name][hit.feature.key.index]) for hit in hits])
        if verbose and mode == "HYBRID":
            marked = (
                f"{'+' if good else '-'}{hit.feature.key.index} {hit.feature.label}"
                for good, hit in zip(found[-1], hits, strict=True)
            )
            print(f"{name}: {'; '.join(marked)}", file=sys.stderr)
    return found


if __name__ == "__main__":
    sys.exit(main())

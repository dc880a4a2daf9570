"""How much of what an exact search finds the catalogue's answers hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from bench.catalogue import exact
from bench.catalogue.asking import Catalogue
from bench.catalogue.made import Made
from bench.catalogue.sections import LABEL, STEERS, TOP
from bench.catalogue.tables import Goal
from bench.report import table
from hearth.v1 import feature_service_pb2 as pb
from services.features.encoders import SentenceEncoder

_WORST = 20
"""Queries that are named on the way, for whoever looks into it."""
_GOAL = Goal("mean", 0.99, at_least=True)


async def render(
    catalogue: Catalogue,
    made: Made,
    encoder: SentenceEncoder,
    labels: Sequence[str],
    neighbors: Sequence[int],
    tell: Callable[[str], None],
) -> str:
    """The table: searches for these labels, neighbours of these features, each beside exact search."""
    steers = made.steerability >= STEERS
    vectors = np.concatenate([encoder.encode([label]) for label in labels])  # one by one, as the service does
    rows = []
    for name, where, least in (
        ("search of labels", made.searched, None),
        ("search of labels, filtered", made.searched & steers, STEERS),
    ):
        found = [await catalogue.search(label, LABEL, TOP, least) for label in labels]
        recalls = _recalls(found, made.labels, vectors, where)
        rows.append(_row(name, recalls, (_GOAL,)))
        worst = sorted((value, label) for value, label in zip(recalls, labels, strict=True) if value < 1)
        for value, label in worst[:_WORST]:
            tell(f"recall: {name}: {value:.1f} of {label!r}")
    for name, relation, matrix in (
        ("neighbours by label", pb.NEIGHBOR_RELATION_LABEL, made.labels),
        ("neighbours by decoder", pb.NEIGHBOR_RELATION_DECODER, made.decoders),
    ):
        found = [await catalogue.neighbors([index], relation, TOP) for index in neighbors]
        others = (made.alive & (np.arange(len(made)) != index) for index in neighbors)
        pairs = zip(found, neighbors, others, strict=True)
        recalls = [exact.recall(got, exact.scores(matrix, matrix[n], where), TOP) for got, n, where in pairs]
        rows.append(_row(name, recalls, ()))
    for row in rows:
        tell(f"recall: {row[0]}: {row[2]}")
    explains = (
        f"Share of the {TOP} best of an exact search that are among the {TOP} answers. Searches are for real labels "
        "that no feature has; neighbours are of features drawn at random."
    )
    header = [f"recall at {TOP}", "queries", "mean", "worst", "queries with all", "goal"]
    return "\n\n".join(["## Recall", explains, table(header, rows)])


def _recalls(
    found: Iterable[Sequence[int]],
    matrix: Float[NDArray[np.float32], "features width"],
    queries: Float[NDArray[np.float32], "queries width"],
    where: Bool[NDArray[np.bool_], " features"],
) -> list[float]:
    pairs = zip(found, queries, strict=True)
    return [exact.recall(got, exact.scores(matrix, query, where), TOP) for got, query in pairs]


def _row(name: str, recalls: Sequence[float], goals: Sequence[Goal]) -> list[str]:
    mean = float(np.mean(recalls))
    whole = float(np.mean([each == 1 for each in recalls]))
    verdicts = "; ".join(goal.verdict(mean) for goal in goals)
    return [name, f"{len(recalls)}", f"{mean:.4f}", f"{min(recalls):.2f}", f"{whole:.1%}", verdicts]

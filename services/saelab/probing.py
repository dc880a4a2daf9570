"""Sparse probing: do a few features tell labelled texts apart (Gurnee et al. 2023, arXiv 2305.01610)?

A probe sees passages of two kinds, each as the mean activation over its tokens. On half of the documents the k features
with the largest |Hedges' g| are chosen, and a logistic regression on them is fitted; its AUROC is measured on the other
half. Beside it: the same with single dimensions of the residual stream, and a regression on the whole stream.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import rankdata

from services.inference.contrast import hedges_g
from services.saelab.documents import Document, fraction
from services.saelab.errors import SaeLabError

PROBES = Path(__file__).with_name("probes.toml")
KS = (1, 5)
"""Numbers of features, or of dimensions."""
LEAST = 8
"""A probe needs so many passages of each kind in each half."""
_PENALTY = 1e-2
"""Of the squared weights of standardised inputs, beside the mean log-loss."""

Matrix = Float[NDArray[np.float32], "passages inputs"]


@dataclass(frozen=True, slots=True)
class Kind:
    """Which passages are of a kind: documents of these sources, or sentences of its own."""

    sources: tuple[str, ...] = ()
    """Names of sources of the corpus; * stands for anything."""
    chat: bool | None = None
    """Conversations alone, or none."""
    sentences: tuple[str, ...] = ()

    def has(self, document: Document) -> bool:
        """Whether a document is of the kind."""
        return any(fnmatch(document.source, source) for source in self.sources) and (
            self.chat is None or document.is_chat == self.chat
        )


@dataclass(frozen=True, slots=True)
class Probe:
    """Two kinds of passages to tell apart."""

    name: str
    positive: Kind
    negative: Kind


@dataclass(frozen=True, slots=True)
class Labelled:
    """The passages of one probe: rows of the pooled activations."""

    features: Matrix
    stream: Matrix
    positive: Bool[NDArray[np.bool_], " passages"]
    fitting: Bool[NDArray[np.bool_], " passages"]
    """Of the half that features are chosen and the regression is fitted on."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """AUROCs on the half that nothing was fitted on."""

    name: str
    positive: int
    """Passages of both halves."""
    negative: int
    features: tuple[float, ...]
    """With the k best features, for each of KS."""
    best_feature: int
    """The first that was chosen."""
    dimensions: tuple[float, ...]
    """With the k best dimensions of the residual stream."""
    stream: float
    """With the whole residual stream."""


def read_probes(path: Path = PROBES) -> list[Probe]:
    """The probes of a TOML file. Raises SaeLabError with the probe at fault."""
    try:
        rows: list[dict[str, Any]] = tomllib.loads(path.read_text("utf-8"))["probe"]
        return [Probe(row["name"], _kind(row["positive"]), _kind(row["negative"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SaeLabError(f"{path} is no list of probes: {error}") from error


def _kind(row: dict[str, Any]) -> Kind:
    kind = Kind(tuple(row.get("sources", ())), row.get("chat"), tuple(row.get("sentences", ())))
    if bool(kind.sources) == bool(kind.sentences) or row.keys() - {"sources", "chat", "sentences"}:
        raise ValueError(f"a kind has either sources (and chat) or sentences, not {', '.join(row)}")
    return kind


def is_fitting(key: str) -> bool:
    """Whether the document of that id is in the half that is fitted on."""
    return fraction(key, "probe") < 0.5


def chosen_passages(
    probes: Iterable[Probe],
    documents: Sequence[Document],
    owners: Sequence[int],
    lengths: Sequence[int],
    most: int,
) -> list[int]:
    """Numbers of the windows that some probe asks for: at most `most` of each document, of 32 tokens or more.

    `owners` says of each window which document it is of, `lengths` how many tokens it has.
    """
    kinds = [kind for probe in probes for kind in (probe.positive, probe.negative)]
    wanted = [any(kind.has(document) for kind in kinds) for document in documents]
    taken: dict[int, int] = {}
    chosen = []
    for window, (owner, length) in enumerate(zip(owners, lengths, strict=True)):
        if wanted[owner] and length >= 32 and taken.get(owner, 0) < most:
            taken[owner] = taken.get(owner, 0) + 1
            chosen.append(window)
    return chosen


def measure_probe(probe: Probe, labelled: Labelled) -> ProbeResult | None:
    """The AUROCs of a probe; None where a half has too few passages of a kind."""
    positive, fitting = labelled.positive, labelled.fitting
    for kind in (positive, ~positive):
        for half in (fitting, ~fitting):
            if (kind & half).sum() < LEAST:
                return None
    ranked = {name: _ranked(getattr(labelled, name), labelled) for name in ("features", "stream")}
    return ProbeResult(
        probe.name,
        int(positive.sum()),
        int((~positive).sum()),
        tuple(_score(labelled.features[:, ranked["features"][:k]], labelled) for k in KS),
        int(ranked["features"][0]),
        tuple(_score(labelled.stream[:, ranked["stream"][:k]], labelled) for k in KS),
        _score(labelled.stream, labelled),
    )


def _ranked(inputs: Matrix, labelled: Labelled) -> NDArray[np.intp]:
    """Inputs by how well each tells the fitting half apart, best first."""
    a = inputs[labelled.fitting & labelled.positive].astype(np.float64)
    b = inputs[labelled.fitting & ~labelled.positive].astype(np.float64)
    return np.argsort(-np.abs(hedges_g(a, b)), kind="stable")


def _score(inputs: Matrix, labelled: Labelled) -> float:
    fitting = labelled.fitting
    mean, spread = inputs[fitting].mean(0), inputs[fitting].std(0)
    scaled = ((inputs - mean) / np.where(spread > 0, spread, 1.0)).astype(np.float64)
    weights = logistic(scaled[fitting], labelled.positive[fitting])
    return auroc(scaled[~fitting] @ weights, labelled.positive[~fitting])


def logistic(
    x: Float[NDArray[np.float64], "passages inputs"], positive: Bool[NDArray[np.bool_], " passages"]
) -> Float[NDArray[np.float64], " inputs"]:
    """Weights of a logistic regression with a small penalty; both kinds weigh alike. The intercept is left out: it does
    not change an order."""
    sign = np.where(positive, 1.0, -1.0)
    share = np.where(positive, 0.5 / positive.sum(), 0.5 / (~positive).sum())

    def loss(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = sign * (x @ theta[1:] + theta[0])
        pull = -share * sign / (1.0 + np.exp(np.clip(margin, -500, 500)))
        gradient = np.concatenate([[pull.sum()], x.T @ pull + 2 * _PENALTY * theta[1:]])
        return float((share * np.logaddexp(0, -margin)).sum() + _PENALTY * theta[1:] @ theta[1:]), gradient

    found: NDArray[np.float64] = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B").x
    return found[1:]


def auroc(scores: Float[NDArray[np.float64], " n"], positive: Bool[NDArray[np.bool_], " n"]) -> float:
    """The probability that a positive one has the larger score, ties counted half."""
    count, others = int(positive.sum()), int((~positive).sum())
    ranks = rankdata(scores)[positive].sum()
    return float((ranks - count * (count + 1) / 2) / (count * others))

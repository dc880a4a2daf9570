"""Features for the tests of the catalogue: each of a topic with words of its own, and all that a feature can have."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from services.features.catalogue import Catalogue
from services.features.encoders import SentenceEncoder
from services.features.feature import (
    Catalog,
    Dose,
    Example,
    Feature,
    FeatureClass,
    FeatureFilter,
    Neighbor,
    SearchMode,
    TokenWeight,
)
from services.features.requests import BeginCall, Names, SearchCall, Upsert, UpsertCall
from services.features.store.base import Vector
from services.steering.conditions import FeatureKey

SAE = "tiny/layer-3"
D_MODEL = 16
WIDTH = 32
"""Of the made encoder."""
TOPICS = (
    ("the sea and ships", "the sailors steered the ship over the waves of the sea"),
    ("baking bread", "she kneaded the dough and put the bread into the oven"),
    ("court trials", "the judge asked the lawyer to question the witness in court"),
    ("birds of prey", "an eagle and a hawk hunted above the valley"),
    ("sorting numbers", "the algorithm sorts the list of integers in place"),
    ("winter weather", "snow fell all night and ice covered the frozen lake"),
    ("chess openings", "white moved the knight and black castled early"),
    ("grief and mourning", "he wept at the funeral of his late brother"),
)
EDGES = (0.0, 0.5, 1.0, 2.0)


def feature(index: int, sae: str = SAE, **changes: Any) -> Feature:
    """Feature `index`, of topic `index % 8`; from 8 on its words carry its number, so that no two are alike."""
    label, text = TOPICS[index % len(TOPICS)]
    turn = index // len(TOPICS)
    tokens = tuple(f" {word}" for word in text.split()) + ((f" number{turn}",) if turn else ())
    peak = len(tokens) // 2
    return replace(
        Feature(
            sae=sae,
            index=index,
            label=f"{label} {turn}" if turn else label,
            description=f"fires on {label}",
            label_source="offline",
            label_score=0.75,
            label_fuzzing=0.625,
            label_null=0.5,
            feature_class=FeatureClass.CONCEPT,
            density=(index + 1) / 1024,
            scale=2.5,
            max_activation=7.5,
            output_score=0.25 * index,
            steerability=0.125 * (index % 4),
            promoted=(TokenWeight(tokens[peak], 100 + index, 1.5), TokenWeight(" promoted", 7, 0.5)),
            suppressed=(TokenWeight(" not", 8, -0.5),),
            histogram=(5, 3, 1),
            doses=(Dose(0.25, 0.5, 0.125, 0.75), Dose(0.5, 0.75, 1.5, 0.5)),
            examples=tuple(_example(tokens, peak, number) for number in range(3)),
            decoder_neighbors=(Neighbor(1, 0.5),),
            coactivation_neighbors=(Neighbor(1, 0.75), Neighbor(0, 0.25)),
        ),
        **changes,
    )


def _example(tokens: tuple[str, ...], peak: int, number: int) -> Example:
    activations = [0.0] * len(tokens)
    activations[peak] = 7.5 / (number + 1)
    activations[peak - 1] = 0.1  # no binary fraction
    kind, role = (("top", "user"), ("quantile", "assistant"), ("", ""))[number]
    return Example(kind, 1.0 / (number + 1), tokens, tuple(activations), peak, role, f"document-{number}")


def catalog(features: int, sae: str = SAE, **changes: Any) -> Catalog:
    """The catalogue of so many features."""
    return replace(Catalog(sae, "tiny", "model.layers.3", 3, "d" * 64, features, EDGES), **changes)


def decoder(index: int) -> Vector:
    """A decoder direction; those of a topic are alike."""
    topic, own = np.random.default_rng(index % len(TOPICS)), np.random.default_rng(1000 + index)
    direction = topic.standard_normal(D_MODEL) + 0.1 * own.standard_normal(D_MODEL)
    return np.asarray(direction, np.float32)


def upserts(features: Sequence[Feature]) -> list[Upsert]:
    """The features with their decoder directions."""
    return [Upsert(each, decoder(each.index)) for each in features]


async def import_features(
    catalogue: Catalogue, features: Sequence[Feature], digest: str = "content", **changes: Any
) -> Catalog:
    """Imports features, all at once."""
    sae = features[0].sae
    begun = await catalogue.begin_import(
        BeginCall(catalog(len(features), sae, **changes), digest, restart=False)
    )
    await catalogue.upsert(UpsertCall(upserts(features), begun.import_id))
    return await catalogue.commit_import(begun.import_id)


def names(*indices: int, sae: str = SAE) -> Names:
    """Features by key."""
    return Names(
        keys=tuple(FeatureKey(sae, index) for index in indices),
        fields=tuple(f"keys[{place}]" for place in range(len(indices))),
    )


def asked(query: str, mode: SearchMode = SearchMode.HYBRID, **changes: Any) -> SearchCall:
    """A search over all SAEs."""
    return replace(SearchCall(query, "", 10, FeatureFilter(), mode, False), **changes)


async def shown(catalogue: Catalogue, index: int, sae: str = SAE) -> Feature:
    """A feature, whole."""
    (found,) = await catalogue.get(names(index, sae=sae), full=True)
    assert isinstance(found, Feature)
    return found


class WordEncoder:
    """Stands in for the sentence encoder: a direction for each word, so that texts that share words are alike."""

    def __init__(self, name: str = "words@1", width: int = WIDTH) -> None:
        self.name, self.width = name, width
        self.calls: list[list[str]] = []

    def load(self) -> SentenceEncoder:
        """The encoder, as the catalogue loads it."""
        return SentenceEncoder(self.name, self.width, self.encode)

    def encode(self, texts: Sequence[str]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        """A direction for each text."""
        self.calls.append(list(texts))
        vectors = np.stack([self._vector(text) for text in texts])
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)

    def _vector(self, text: str) -> Vector:
        words = [word.strip(".,…") for word in text.lower().split()] or [""]
        return np.sum([self._word(word) for word in words], axis=0, dtype=np.float32)

    def _word(self, word: str) -> Vector:
        seed = int.from_bytes(hashlib.sha256(f"{self.name} {word}".encode()).digest()[:8], "big")
        return np.random.default_rng(seed).standard_normal(self.width).astype(np.float32)


class GatedEncoder(WordEncoder):
    """A WordEncoder that waits before it loads, until it is let."""

    def __init__(self, gate: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._gate, self._loop = gate, loop

    def load(self) -> SentenceEncoder:
        """The encoder, once it may load."""
        asyncio.run_coroutine_threadsafe(self._gate.wait(), self._loop).result(timeout=10)
        return super().load()

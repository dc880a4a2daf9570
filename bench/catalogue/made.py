"""The benchmark's catalogue: as many features as are asked for, made of the real ones (`seeds.py`).

The first ones are the seeds as they are. Then come variants, each seed in turn, as an SAE of more features splits those
of a smaller one:

- its label has a number behind it, so that it is a text of its own;
- its label's, its contexts' and its decoder's vector v become v + 0.5 u, of norm 1 again, where u is the direction from
  one other seed's vector to another's, both drawn: noise that lies where real vectors differ. The cosine with the seed
  is about 0.89, that of two variants of one seed about 0.8;
- every second one of its examples is another seed's, so that it has words of its own;
- its steerability is drawn evenly from 0 to 1, so that a filter leaves a known share.

All vectors of texts are in int8, as `vectors.safetensors` ships them; the store and its peers get the same numbers.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from bench.catalogue.seeds import Seeds
from services.features.encoders import SentenceEncoder
from services.features.feature import SEARCHED, UNLABELLED, Catalog, Feature, FeatureClass, Neighbor
from services.features.requests import Upsert
from services.features.texts import context_text, label_text
from services.saelab import text_vectors
from services.saelab.label_table import LONGEST, shortened
from services.saelab.text_vectors import TextVectors, Vector

SAE = "bench/made"
JITTER = 0.5
"""Length of the noise, where vectors have 1."""
_NUMBER = 9
"""Characters left for a variant's number."""
_STEP = 7919
"""Times a variant's number: how far away the seed is whose examples it has too. A prime: another each time."""


@dataclass(frozen=True, slots=True)
class Made:
    """A catalogue to import, and what an exact search needs of it."""

    seeds: Seeds
    vectors: TextVectors
    """Of all labels and contexts."""
    labels: Float[NDArray[np.float32], "features width"]
    decoders: Float[NDArray[np.float32], "features d_model"]
    steerability: Float[NDArray[np.float64], " features"]

    def __len__(self) -> int:
        """Number of features."""
        return len(self.labels)

    @property
    def catalog(self) -> Catalog:
        """What the import is told."""
        digest = hashlib.sha256(self.labels.tobytes()).hexdigest()
        return Catalog(SAE, "bench/none", "model.layers.0", 0, digest, len(self), self.seeds.histogram_edges)

    @property
    def searched(self) -> Bool[NDArray[np.bool_], " features"]:
        """Features of the classes that a search covers which names none."""
        return self._of_classes(SEARCHED)

    @property
    def alive(self) -> Bool[NDArray[np.bool_], " features"]:
        """Features that may be neighbours."""
        return self._of_classes([each for each in FeatureClass if each is not FeatureClass.DEAD])

    def upserts(self) -> Iterator[Upsert]:
        """The features in order."""
        for feature, decoder in zip(features(self.seeds, self.steerability), self.decoders, strict=True):
            yield Upsert(feature, decoder)

    def _of_classes(self, classes: Sequence[FeatureClass]) -> Bool[NDArray[np.bool_], " features"]:
        of_seeds = np.array([feature.feature_class in classes for feature in self.seeds.features])
        return np.asarray(np.resize(of_seeds, len(self)), np.bool_)


def make(seeds: Seeds, count: int, encoder: SentenceEncoder) -> Made:
    """The catalogue of `count` features; the same seeds give the same one."""
    steerability = np.random.default_rng(0).random(count)
    labels = jittered(seeds.labels, count, seed=1)
    contexts = jittered(seeds.contexts, count, seed=2)
    texts: list[str] = []
    by_text: dict[str, Vector] = {}
    for feature, context in zip(features(seeds, steerability), contexts, strict=True):
        if text := context_text(feature):
            by_text[text] = context
        texts.append(label_text(feature))
    if len(set(texts)) != count:
        raise ValueError("two features have the same label")
    by_text.update(zip(texts, labels, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        text_vectors.write(Path(folder), encoder.id, by_text)
        vectors = text_vectors.read(Path(folder))
    assert vectors is not None
    stored = [vector for text in texts if (vector := vectors.get(text)) is not None]
    return Made(seeds, vectors, np.stack(stored), jittered(seeds.decoders, count, seed=3), steerability)


def features(seeds: Seeds, steerability: Float[NDArray[np.float64], " features"]) -> Iterator[Feature]:
    """The features: the seeds, then variants of them."""
    size, count = len(seeds.features), len(steerability)
    for index, steers in enumerate(steerability):
        number, place = divmod(index, size)
        seed = seeds.features[place]
        feature = replace(
            seed,
            sae=SAE,
            index=index,
            steerability=float(steers),
            decoder_neighbors=_within(seed.decoder_neighbors, count),
            coactivation_neighbors=_within(seed.coactivation_neighbors, count),
        )
        if number:
            other = seeds.features[(place + number * _STEP) % size]
            pairs = zip(seed.examples[::2], other.examples[::2], strict=False)
            examples = tuple(chain.from_iterable(pairs))
            feature = replace(feature, label=_numbered(seed, number + 1), examples=examples)
        yield feature


def jittered(
    seeds: Float[NDArray[np.float32], "seeds width"], count: int, seed: int
) -> Float[NDArray[np.float32], "features width"]:
    """The seeds' vectors in turn, `count` in all: as they are at first, then with noise (see the module)."""
    draw = np.random.default_rng(seed)
    turns = [seeds]
    for _ in range(1, -(-count // len(seeds))):
        away = seeds[draw.permutation(len(seeds))] - seeds[draw.permutation(len(seeds))]
        turn = seeds + JITTER * _of_norm_1(away)
        turns.append(_of_norm_1(turn))
    return np.concatenate(turns)[:count]


def _of_norm_1(
    vectors: Float[NDArray[np.float32], "rows width"],
) -> Float[NDArray[np.float32], "rows width"]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-9), np.float32)


def _numbered(seed: Feature, number: int) -> str:
    prefix = "" if seed.is_labelled else UNLABELLED
    return f"{prefix}{shortened(label_text(seed), LONGEST - len(prefix) - _NUMBER)} ({number})"


def _within(neighbors: tuple[Neighbor, ...], count: int) -> tuple[Neighbor, ...]:
    """Neighbours of a smaller catalogue have other indices there; how many there are stays."""
    return tuple(replace(each, index=each.index % count) for each in neighbors)

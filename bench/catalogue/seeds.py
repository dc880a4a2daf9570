"""Real features with real vectors, from which the benchmark's catalogue is made."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from bench.peers.process import LOGS
from services.cli.importing.source import FeatureSource, has_tables
from services.features.encoders import SentenceEncoder
from services.features.feature import Example, Feature, FeatureClass
from services.features.texts import context_text, label_text
from services.inference.sae.formats import load_sae
from services.saelab import text_vectors
from services.saelab.documents import TRAIN, read_documents
from services.saelab.label_table import LABELS, shortened
from services.saelab.text_vectors import TextVectors, Vector

KEPT_OUT = 8
"""One label in so many is no feature's but a question."""
KEPT_VECTORS = LOGS / "catalogue"
"""Where vectors are kept that were made here, for the next run."""
_AT_ONCE = 64
_LABEL = 70
"""Characters of a label made of a sentence."""
_EXAMPLES = 20
"""As many as `hearth sae features` writes."""
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_WORD = re.compile(r"\s*\S+")
_CLASSES = [FeatureClass.CONCEPT] * 4 + [FeatureClass.LEXICAL] * 2 + [FeatureClass.SYNTACTIC] * 4
"""In turn, where nothing is known of classes: about their shares in the embedded SAE."""


@dataclass(frozen=True, slots=True)
class Seeds:
    """Features of which no two have the same label. Vectors have norm 1."""

    about: str
    """Where they are from, for the report."""
    features: tuple[Feature, ...]
    labels: Float[NDArray[np.float32], "seeds width"]
    contexts: Float[NDArray[np.float32], "seeds width"]
    """0 where a feature has no examples."""
    decoders: Float[NDArray[np.float32], "seeds d_model"]
    histogram_edges: tuple[float, ...]
    kept_out: tuple[str, ...]
    """Labels of the same kind that no feature has."""


def load(sae: Path, corpus: Path, most: int, encoder: SentenceEncoder, tell: Callable[[str], None]) -> Seeds:
    """At most so many seeds: the features of an SAE that has labels, else sentences of a corpus with its decoder.

    Raises TableError, SaeError or CorpusError where they cannot be read.
    """
    wanted = most + most // (KEPT_OUT - 1) + 1
    shipped: TextVectors | None = None
    edges: tuple[float, ...] = ()
    if has_tables(sae) and (sae / LABELS).is_file():
        source = FeatureSource(sae)
        rows = [(upsert.feature, upsert.decoder) for upsert in source.upserts()]
        pairs = [(f, d) for f, d in rows if d is not None and d.any() and label_text(f)]
        edges, shipped = source.catalog.histogram_edges, source.vectors
        about = f"labels, contexts and decoder directions of the SAE {source.catalog.sae}"
    else:
        decoder = load_sae(sae).weights.W_dec.numpy()
        sentences = _sentences(corpus, max(wanted * 4, _EXAMPLES * 2))
        pairs = [(f, decoder[f.index % len(decoder)]) for f in _of_sentences(sentences)]
        about = f"sentences of the lab's corpus, as {sae.name} has no {LABELS}, with its decoder directions"
    distinct = list({label_text(f).lower(): (f, d) for f, d in reversed(pairs)}.values())[::-1][:wanted]
    kept_out = tuple(label_text(f) for f, _ in distinct[KEPT_OUT - 1 :: KEPT_OUT])
    chosen = [pair for n, pair in enumerate(distinct) if n % KEPT_OUT != KEPT_OUT - 1][:most]
    features = tuple(feature for feature, _ in chosen)
    labels, contexts = ([made(f) for f in features] for made in (label_text, context_text))
    vectors = _encoded([*labels, *contexts], encoder, shipped, tell)
    directions = np.stack([np.asarray(decoder, np.float32) for _, decoder in chosen])
    return Seeds(
        about,
        features,
        vectors[: len(features)],
        vectors[len(features) :],
        directions / np.linalg.norm(directions, axis=1, keepdims=True),
        edges,
        kept_out,
    )


def _encoded(
    texts: Sequence[str],
    encoder: SentenceEncoder,
    shipped: TextVectors | None,
    tell: Callable[[str], None],
) -> Float[NDArray[np.float32], "texts width"]:
    """The vectors of texts, 0 for an empty one: those that are shipped, those kept of an earlier run, others made."""
    kept = text_vectors.read(KEPT_VECTORS)
    known = [each for each in (shipped, kept) if each is not None and each.encoder == encoder.id]
    found: dict[str, Vector] = {}
    for text in filter(None, texts):
        vector = next((v for each in known if (v := each.get(text)) is not None), None)
        if vector is not None:
            found[text] = vector
    unknown = sorted({text for text in texts if text} - found.keys(), key=len)
    for start in range(0, len(unknown), _AT_ONCE):
        if start % (16 * _AT_ONCE) == 0:
            tell(f"encoding texts: {start} of {len(unknown)}")
        part = unknown[start : start + _AT_ONCE]
        found.update(zip(part, encoder.encode(part), strict=True))
    if unknown:
        KEPT_VECTORS.mkdir(parents=True, exist_ok=True)
        text_vectors.write(KEPT_VECTORS, encoder.id, found)
    empty = np.zeros(encoder.width, np.float32)
    return np.stack([found.get(text, empty) for text in texts])


def _sentences(corpus: Path, most: int) -> list[str]:
    """The first sentences of a corpus that could be a label and its contexts."""
    texts = (document.text for document in read_documents(corpus / TRAIN) if document.text)
    every = (" ".join(s.split()) for text in texts for s in _SENTENCE_END.split(text))
    return list(islice((s for s in every if 20 <= len(s) <= 200), most))


def _of_sentences(sentences: Sequence[str]) -> Iterator[Feature]:
    """Features called by the beginning of a sentence each; other sentences are where they are active."""
    for number, sentence in enumerate(sentences):
        following = [(number * _EXAMPLES + n) % len(sentences) for n in range(1, _EXAMPLES + 1)]
        yield Feature(
            sae="",
            index=number,
            label=shortened(sentence, _LABEL),
            label_source="corpus",
            feature_class=_CLASSES[number % len(_CLASSES)],
            density=0.005,
            scale=1.0,
            max_activation=2.0,
            examples=tuple(_example(sentences[place], str(place)) for place in following),
        )


def _example(sentence: str, document: str) -> Example:
    tokens = tuple(_WORD.findall(sentence))
    peak = len(tokens) // 2
    active = tuple(float(place == peak) for place in range(len(tokens)))
    return Example("top", 1.0, tokens, active, peak, "", document)

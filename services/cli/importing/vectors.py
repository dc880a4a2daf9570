"""Makes the sentence vectors that are shipped with an SAE's tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from services.cli.importing.source import FeatureSource
from services.features.encoders import minilm_loader
from services.features.texts import context_text, label_text
from services.saelab import text_vectors
from services.saelab.text_vectors import Vector

_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class MadeVectors:
    """What was written."""

    path: Path
    texts: int
    encoder: str


def make_vectors(source: FeatureSource, report: Callable[[int, int], None], threads: int = 1) -> MadeVectors:
    """Encodes all labels and contexts with the catalogue's own encoder and writes them into the SAE's folder.

    Raises what a source raises, SetupError where the encoder cannot be had.
    """
    features = (upsert.feature for upsert in source.upserts())
    texts = {text for each in features for text in (label_text(each), context_text(each)) if text}
    encoder = minilm_loader(None, threads)()
    ordered = sorted(texts, key=len)  # those of one batch are about as long, so that little is padded
    made: dict[str, Vector] = {}
    for start in range(0, len(ordered), _AT_ONCE):
        report(start, len(ordered))
        part = ordered[start : start + _AT_ONCE]
        made.update(zip(part, encoder.encode(part), strict=True))
    report(len(ordered), len(ordered))
    return MadeVectors(text_vectors.write(source.folder, encoder.id, made), len(made), encoder.id)

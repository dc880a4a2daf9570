"""Texts and features made for the tests of labelling: what each feature fires on is known."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np
from jaxtyping import Float

from services.encoder.minilm import WIDTH
from services.saelab.annotated import ROLES
from services.saelab.feature_classes import stem
from services.saelab.feature_rows import FeatureClass, FeatureRow, Neighbor, TokenWeight
from services.saelab.label.contexts import SampleSizes
from services.saelab.label.embedder import Embedder
from services.saelab.label.firings import Firings
from services.saelab.label.workbench import LabelSettings, Progress, Workbench
from tests.saelab.test_evaluate import random_sae

_TOKEN = re.compile(r" ?[^\W\d_]{1,7}|\d|\n|[^\S\n]|[^\w\s]|_")
"""Words of up to seven letters are one token, longer ones several."""
Fires = Callable[[str, int], float]
"""The activation of a feature on a token (as it is written) with its number."""


def tokens_of(text: str) -> list[str]:
    found = _TOKEN.findall(text)
    assert "".join(found) == text
    return found


def firings_of(
    texts: Sequence[str], features: Sequence[Fires] = (), turns: Sequence[str] | None = None
) -> Firings:
    """Each text is a document and a window; `turns` names the role that all of a text's tokens have."""
    pieces = [tokens_of(text) for text in texts]
    lengths = [len(part) for part in pieces]
    flat = [piece for part in pieces for piece in part]
    window = np.repeat(np.arange(len(texts), dtype=np.int32), lengths)
    active = [[fires(piece.strip(" ") or piece, n) for n, piece in enumerate(flat)] for fires in features]
    values = np.array(active, np.float32).reshape(len(features), len(flat))
    feature, token = values.nonzero()
    roles = [ROLES.index(role) for role in turns or [""] * len(texts)]
    return Firings(
        pieces=flat,
        roles=np.repeat(np.array(roles, np.int8), lengths),
        turn_positions=np.concatenate([np.arange(length, dtype=np.int32) for length in lengths]),
        windows=window,
        documents=window,
        used=np.ones(len(flat), np.bool_),
        for_labels=window % 2 == 0,
        offsets=np.concatenate([[0], np.bincount(feature, minlength=len(features)).cumsum()]),
        tokens=token.astype(np.int32),
        values=values[feature, token],
    )


SEA = "ship sail harbour anchor deck captain".split()
LAW = "judge court verdict lawyer crime trial".split()
FILLER = "we saw some of them near a long road with old trees and then it was late again".split()


def made_documents(count: int = 80) -> list[str]:
    """Documents of the sea, of law, and of neither, with some numbers, in lines."""
    draw = Random(1)
    documents = []
    for number in range(count):
        topic = (SEA, LAW, FILLER)[number % 3]
        lines = []
        for _ in range(6):
            words = [*draw.choices(FILLER, k=6), *draw.choices(topic, k=3)]
            draw.shuffle(words)
            if draw.random() < 0.3:
                words.append(str(draw.randint(1000, 9999)))
            lines.append(" ".join(words).capitalize() + ".")
        documents.append("\n".join(lines))
    return documents


def noise(token: str, number: int) -> float:
    """Fires on one token in twelve, whatever it is."""
    return float(hashlib.blake2b(b"%d" % number, digest_size=2).digest()[0] < 256 // 12)


PLANTED: dict[str, Fires] = {
    "word": lambda token, number: 2.0 * (token == "harbour"),
    "digits": lambda token, number: 3.0 * token.isdigit(),
    "sea": lambda token, number: 1.0 + len(token) / 8 if token in SEA else 0.0,
    "line": lambda token, number: 1.5 * (token == "\n"),
    "noise": noise,
    "silent": lambda token, number: 0.0,
    "other noise": lambda token, number: noise(token, number + 10**6),
    "article": lambda token, number: 1.0 * (token in ("a", "of")),
}


def _fires_on(word: str) -> Fires:
    return lambda token, number: 1.0 * (token == word)


PLANTED |= {word: _fires_on(word) for word in (*LAW, *FILLER) if word not in ("a", "of")}
"""Features that others are compared with."""


def bag_of_stems(texts: Sequence[str]) -> Float[np.ndarray, "texts width"]:
    """An encoder for tests: texts are near if they share words."""
    rows = np.full((len(texts), WIDTH), 1e-3)
    for row, text in zip(rows, texts, strict=True):
        for word in re.findall(r"[^\W\d_]+", text.lower()):
            place = int.from_bytes(hashlib.blake2b(stem(word).encode(), digest_size=4).digest(), "big")
            row[place % WIDTH] += 1.0
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class MadeBench(Workbench):
    """A workbench of the planted features, in order of PLANTED."""

    def __init__(
        self,
        folder: Path,
        sizes: SampleSizes | None = None,
        encode: Callable[[Sequence[str]], Float[np.ndarray, "texts width"]] = bag_of_stems,
        progress: Progress = lambda what, done, total: None,
    ) -> None:
        self.settings = LabelSettings(
            folder / "sae",
            (),
            folder / "work",
            folder / "vectors",
            "tiny",
            sizes=sizes or SampleSizes(30, 60),
            threads=1,
        )
        self._progress = progress
        self.sae = random_sae()
        self.firings = firings_of(made_documents(), list(PLANTED.values()))
        self.rows = [
            FeatureRow(
                index,
                0.0,
                1.0,
                1.0,
                (),
                FeatureClass.DEAD if name == "silent" else FeatureClass.CONCEPT,
                promoted=(TokenWeight(" wave", 1, 1.0),),
                decoder_neighbors=(Neighbor((index + 2) % len(PLANTED), 0.5),),
            )
            for index, name in enumerate(PLANTED)
        ]
        self.embedder = Embedder(self.settings.vectors, lambda: encode)

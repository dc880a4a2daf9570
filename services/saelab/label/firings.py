"""Where each feature fires in the texts that labels are made from: collected once, kept on disk in parts.

Unlike the feature table's examples, which are a few contexts of each feature, these are all activations: so a context
of one feature is a sure negative of another that is silent in it, and contexts are shared by all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from services.inference.embedded import resolve_model
from services.inference.sae.base import Sae
from services.inference.tokenizer import Tokenizer
from services.saelab.annotated import AnnotatedText, annotate, pieces
from services.saelab.errors import CorpusError, CorruptShard, SaeLabError
from services.saelab.label.texts import draw_documents, for_labels
from services.saelab.residual import HookedModel, require_finite, stacked, used_positions, without_sinks
from services.saelab.shards import ShardFolder
from services.saelab.windows import Window

PART_WINDOWS = 64
"""Windows in a part: 15 seconds of one core for the embedded model, all that a kill loses."""


@dataclass(frozen=True, slots=True)
class FiringsSettings:
    """Which texts are read, and where what is found is kept."""

    files: tuple[Path, ...]
    """JSON lines of documents: self-written text, a corpus."""
    out: Path
    """Folder of the parts."""
    model: str
    """Hub id, or folder of a Hugging Face checkpoint."""
    tokens: int = 600_000
    """Tokens to read, at most."""
    window: int = 256
    """Longest run of tokens read at once."""
    batch: int = 8
    """Windows in one pass of the model."""
    device: str = "cpu"
    """Where the model computes: cpu, cuda."""
    threads: int = 1
    """CPU threads."""

    def run(self, sae: Sae) -> dict[str, Any]:
        """What must be the same for a run to be gone on with."""
        return {
            "weights": sae.weights_digest,
            "hook_point": sae.hook_point,
            "files": [_digest(file) for file in self.files],
            "reads": self.tokens,
            "window": self.window,
        }


@dataclass(frozen=True, slots=True)
class Firings:
    """Tokens of the texts in reading order, and for each feature the tokens at which it is active."""

    pieces: list[str]
    """Readable text of each token; put together they are the text."""
    roles: NDArray[np.int8]
    """[tokens], places in annotated.ROLES."""
    turn_positions: NDArray[np.int32]
    """[tokens], as in AnnotatedText."""
    windows: NDArray[np.int32]
    """[tokens], the number of the window that each stands in."""
    documents: NDArray[np.int32]
    """[tokens], the number of the document."""
    used: NDArray[np.bool_]
    """[tokens], whether it was encoded: not a first position of a window, a sink, or a fixed system prompt."""
    for_labels: NDArray[np.bool_]
    """[tokens], whether its document is one that labels are made from."""
    offsets: NDArray[np.int64]
    """[features + 1]; feature i has the entries offsets[i] to offsets[i + 1] of the next two."""
    tokens: NDArray[np.int32]
    """[entries], in order within a feature."""
    values: NDArray[np.float32]
    """[entries], raw activations."""

    @property
    def features(self) -> int:
        """Number of features."""
        return len(self.offsets) - 1

    def of(self, feature: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The tokens at which a feature is active, in order, and its activations there."""
        inside = slice(self.offsets[feature], self.offsets[feature + 1])
        return self.tokens[inside], self.values[inside]

    def between(self, feature: int, start: int, end: int) -> NDArray[np.float32]:
        """The activations of a feature on the tokens from `start` to before `end`."""
        tokens, values = self.of(feature)
        first, last = np.searchsorted(tokens, [start, end])
        found = np.zeros(end - start, np.float32)
        found[tokens[first:last] - start] = values[first:last]
        return found

    def window_bounds(self) -> list[tuple[int, int]]:
        """First token of each window, and the one after its last."""
        edges = np.flatnonzero(np.diff(self.windows)) + 1
        return list(pairwise([0, *edges.tolist(), len(self.windows)]))


def collect_firings(
    settings: FiringsSettings, sae: Sae, progress: Callable[[int, int], None] = lambda done, total: None
) -> Firings:
    """Reads the texts, going on where a run of the same settings was stopped; `progress` counts parts.

    Raises CorpusError, HookPointError, BadActivation, RunMismatch, CorruptShard.
    """
    ShardFolder(settings.out).claim(settings.run(sae))
    tokenizer = Tokenizer(resolve_model(settings.model))
    text = annotate(draw_documents(settings.files), tokenizer, settings.window, settings.tokens)
    parts = list(range(0, len(text.windows), PART_WINDOWS))
    missing = [number for number in range(len(parts)) if not _path(settings.out, number).exists()]
    progress(len(parts) - len(missing), len(parts))
    if missing:
        torch.set_num_threads(settings.threads)
        sae = replace(sae, weights=sae.weights.to(torch.device(settings.device)))
        model = HookedModel.load(settings.model, sae.hook_point, settings.device)
        for done, number in enumerate(missing, 1):
            windows = text.windows[parts[number] : parts[number] + PART_WINDOWS]
            _write(settings.out, number, _read_part(settings, sae, model, windows))
            progress(len(parts) - len(missing) + done, len(parts))
    return _joined([_load(settings.out, n) for n in range(len(parts))], text, tokenizer, sae.weights.d_sae)


def _read_part(
    settings: FiringsSettings, sae: Sae, model: HookedModel, windows: tuple[Window, ...]
) -> dict[str, NDArray[Any]]:
    """`used` [tokens], and of each activation its token (in the part), feature and value."""
    read: dict[int, _Read] = {}
    order = sorted(
        range(len(windows)), key=lambda n: -len(windows[n].tokens)
    )  # Of like length: little is padded.
    for start in range(0, len(order), settings.batch):
        numbers = order[start : start + settings.batch]
        batch = [windows[number] for number in numbers]
        hidden = model.residuals(stacked(batch, model.device)).float()
        positions = used_positions(batch, model.device)
        require_finite(hidden[positions], model.hook_point)
        positions = without_sinks(hidden.norm(dim=-1), positions, sae.median_norm)
        for row, padded, number in zip(hidden, positions, numbers, strict=True):
            where = padded[: len(windows[number].tokens)]
            with torch.no_grad():
                f = sae.weights.encode(row[: len(where)][where])
            place, feature = f.nonzero(as_tuple=True)
            token, value = where.nonzero()[place, 0], f[place, feature]
            read[number] = _Read(
                where.cpu().numpy(),
                token.cpu().numpy().astype(np.int32),
                feature.cpu().numpy().astype(np.int32),
                value.cpu().numpy(),
            )
    found = [read[number] for number in range(len(windows))]
    before = np.cumsum([0, *(len(window.used) for window in found[:-1])]).astype(np.int32)
    return {
        "used": np.concatenate([window.used for window in found]),
        "tokens": np.concatenate([window.tokens + b for window, b in zip(found, before, strict=True)]),
        "features": np.concatenate([window.features for window in found]),
        "values": np.concatenate([window.values for window in found]),
    }


@dataclass(frozen=True, slots=True)
class _Read:
    """One window: which tokens were encoded; token, feature and value of each activation."""

    used: NDArray[np.bool_]
    tokens: NDArray[np.int32]
    features: NDArray[np.int32]
    values: NDArray[np.float32]


def _joined(
    parts: list[dict[str, NDArray[Any]]], text: AnnotatedText, tokenizer: Tokenizer, features: int
) -> Firings:
    before = np.cumsum([0, *(len(part["used"]) for part in parts[:-1])])
    feature = np.concatenate([part["features"] for part in parts])
    token = np.concatenate([p["tokens"] + b for p, b in zip(parts, before, strict=True)]).astype(np.int32)
    order = np.argsort(feature, kind="stable")
    lengths = [len(window.tokens) for window in text.windows]
    learnt_from = np.array([for_labels(document) for document in text.ids])
    return Firings(
        pieces=[piece for window in text.windows for piece in pieces(tokenizer, window.tokens)],
        roles=text.roles,
        turn_positions=text.turn_positions,
        windows=np.repeat(np.arange(len(lengths), dtype=np.int32), lengths),
        documents=text.documents,
        used=np.concatenate([part["used"] for part in parts]),
        for_labels=learnt_from[text.documents],
        offsets=np.concatenate([[0], np.bincount(feature, minlength=features).cumsum()]),
        tokens=token[order],
        values=np.concatenate([part["values"] for part in parts])[order],
    )


def _path(folder: Path, number: int) -> Path:
    return folder / f"firings-{number:05}.safetensors"


def _write(folder: Path, number: int, part: dict[str, NDArray[Any]]) -> None:
    path = _path(folder, number)
    partial = path.with_suffix(".partial")
    try:
        save_file(part, partial)
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise SaeLabError(
            f"{path} could not be written ({error}): free some space and run the same command again, "
            "which goes on from here"
        ) from error


def _load(folder: Path, number: int) -> dict[str, NDArray[Any]]:
    path = _path(folder, number)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CorruptShard(
            f"{path} cannot be read ({error}): delete it and run the same command again, which makes it anew"
        ) from error


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise CorpusError(
            f"{file} cannot be read ({error.strerror}): make it first, or name another"
        ) from error

"""Vectors of texts, cached on disk by the text, so that one is encoded once for all features, steps and runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from services.encoder.minilm import WIDTH, Encode
from services.saelab.errors import SaeLabError

_BLOCK = 1024
"""Texts encoded before their vectors are written: 10 to 20 seconds of one core, all that a kill loses."""


class Embedder:
    """Encodes texts, each once: the vectors lie in a folder and are found again by their text."""

    def __init__(self, folder: Path, load: Callable[[], Encode]) -> None:
        """`load` is called when there is a text without a vector."""
        self._folder, self._load = folder, load
        self._encode: Encode | None = None
        self._rows: dict[bytes, int] = {}
        self._vectors: list[Float[NDArray[np.float16], "texts width"]] = []
        self._count = 0
        for path in sorted(folder.glob("vectors-*.safetensors")):
            self._read(path)

    def embed(
        self, texts: Sequence[str], progress: Callable[[int, int], None] = lambda done, total: None
    ) -> Float[NDArray[np.float32], "texts width"]:
        """A vector of norm 1 (rounded to 16 bits) for each text. `progress` counts texts that had none."""
        keys = [_key(text) for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._rows}
        ordered = sorted(
            missing.items(), key=lambda item: len(item[1])
        )  # Of like length, so little is padded.
        for start in range(0, len(ordered), _BLOCK):
            progress(start, len(ordered))
            block = ordered[start : start + _BLOCK]
            self._encode = self._encode or self._load()
            self._write([key for key, _ in block], self._encode([text for _, text in block]))
        progress(len(ordered), len(ordered))
        if not texts:
            return np.zeros((0, WIDTH), np.float32)
        every = np.concatenate(self._vectors)
        self._vectors = [every]
        vectors = every[[self._rows[key] for key in keys]].astype(np.float32)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)

    def _write(self, keys: list[bytes], vectors: Float[NDArray[np.float32], "texts width"]) -> None:
        numbers = [
            int(path.stem.removeprefix("vectors-")) for path in self._folder.glob("vectors-*.safetensors")
        ]
        path = self._folder / f"vectors-{max(numbers, default=-1) + 1:05}.safetensors"
        partial = path.with_suffix(".partial")
        rows = np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), -1)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            save_file({"keys": rows, "vectors": vectors.astype(np.float16)}, partial)
            partial.replace(path)
        except (OSError, SafetensorError) as error:
            partial.unlink(missing_ok=True)
            raise SaeLabError(
                f"{path} could not be written ({error}): free some space and run the same command again, "
                "which goes on from here"
            ) from error
        self._read(path)

    def _read(self, path: Path) -> None:
        try:
            part = load_file(path)
            keys, vectors = part["keys"], part["vectors"]
        except (OSError, KeyError, SafetensorError) as error:
            raise SaeLabError(f"{path} cannot be read ({error}): delete it and run again") from error
        for number, key in enumerate(keys):
            self._rows[key.tobytes()] = self._count + number
        self._vectors.append(vectors)
        self._count += len(keys)


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()

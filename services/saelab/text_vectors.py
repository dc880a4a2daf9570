"""vectors.safetensors: sentence vectors of the texts by which features are found, shipped with the tables.

A catalogue that imports the features then has nothing to encode, which for 4,096 features saves minutes. Two tensors,
one row a text, in order of digest:

- `digests`, uint8 [texts, 16]: the first half of the text's SHA-256 in UTF-8;
- `vectors`, int8 [texts, width]: the vector's direction, its largest component ±127. Vectors have norm 1, so that a
  row needs no scale of its own: a reader divides it by its norm. The cosine with what was written is above 0.9999.

The metadata holds the schema's version and the encoder's id, as JSON: vectors of another encoder are worth nothing.
With 384 dimensions a text takes 400 bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int8, UInt8
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from services.saelab.errors import TableError

VECTORS = "vectors.safetensors"
VERSION = 1
DIGEST_BYTES = 16
"""Of a text's SHA-256, enough that no two texts share them."""
LARGEST = 127
_INFO_KEY = "hearth"

Vector = Float[NDArray[np.float32], " width"]


def text_digest(text: str) -> bytes:
    """By what a text's vector is found."""
    return hashlib.sha256(text.encode()).digest()[:DIGEST_BYTES]


class TextVectors:
    """Vectors of norm 1, by text."""

    def __init__(
        self,
        encoder: str,
        digests: UInt8[NDArray[np.uint8], "texts 16"],
        vectors: Int8[NDArray[np.int8], "texts width"],
    ) -> None:
        self.encoder = encoder
        """The id of the encoder that made them."""
        self._vectors = vectors
        self._rows = {digest.tobytes(): row for row, digest in enumerate(digests)}

    def __len__(self) -> int:
        """Number of texts."""
        return len(self._rows)

    def get(self, text: str) -> Vector | None:
        """The vector of a text; None where there is none."""
        row = self._rows.get(text_digest(text))
        if row is None:
            return None
        vector: Vector = self._vectors[row].astype(np.float32)
        vector /= np.linalg.norm(vector)
        return vector


def read(folder: Path) -> TextVectors | None:
    """The vectors in an SAE's folder; None where there are none. Raises TableError where they cannot be read."""
    path = folder / VECTORS
    if not path.is_file():
        return None
    try:
        with safe_open(path, "np") as file:
            stored = json.loads((file.metadata() or {})[_INFO_KEY])
            if stored["version"] != VERSION:
                raise TableError(
                    f"{path} has another schema than this release of Hearth reads: make it again"
                )
            digests, vectors = file.get_tensor("digests"), file.get_tensor("vectors")
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise TableError(f"{path} cannot be read ({error}): delete it or make it again") from error
    if digests.shape != (len(vectors), DIGEST_BYTES) or vectors.ndim != 2 or vectors.dtype != np.int8:
        raise TableError(f"{path} is no table of text vectors: delete it or make it again")
    return TextVectors(stored["encoder"], digests, vectors)


def write(folder: Path, encoder: str, vectors: Mapping[str, Vector]) -> Path:
    """Writes the vectors of an SAE's folder; the file is whole or as it was.

    The same vectors give the same bytes. Raises ValueError where a vector is zero or not finite, TableError where the
    disk is full.
    """
    by_digest = sorted((text_digest(text), vector) for text, vector in _checked(vectors).items())
    rows = np.array([vector for _, vector in by_digest], np.float32)
    tensors = {
        "digests": np.frombuffer(b"".join(digest for digest, _ in by_digest), np.uint8).reshape(
            -1, DIGEST_BYTES
        ),
        "vectors": np.rint(rows * (LARGEST / np.abs(rows).max(1, keepdims=True))).astype(np.int8),
    }
    path = folder / VECTORS
    partial = path.with_suffix(".partial")
    try:
        # One key: with several, their order in the file is chance, and the bytes are not the same twice.
        info = json.dumps({"version": VERSION, "encoder": encoder})
        save_file(tensors, partial, {_INFO_KEY: info})
        partial.chmod(0o644)  # safetensors makes its file readable to its owner alone
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        raise TableError(
            f"{path} could not be written ({error}): free some space and run it again"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return path


def _checked(vectors: Mapping[str, Vector]) -> Mapping[str, Vector]:
    for text, vector in vectors.items():
        if not np.isfinite(vector).all() or not vector.any():
            raise ValueError(f"the vector of {text[:40]!r} has no direction")
    return vectors

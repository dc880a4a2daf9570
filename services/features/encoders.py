"""Which sentence encoder is in use, by name and by content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from services.encoder.minilm import MINILM_ID, WIDTH, Encode, ensure_minilm, load_encoder
from services.fetched.prepared import MANIFEST

_DIGEST_CHARACTERS = 12


@dataclass(frozen=True, slots=True)
class SentenceEncoder:
    """An encoder that is loaded."""

    id: str
    """Its name and a digest of its files: another one makes other vectors."""
    width: int
    encode: Encode
    """Runs for milliseconds or more: never on the event loop."""


LoadEncoder = Callable[[], SentenceEncoder]
"""Loads the encoder; takes seconds. Raises OSError, ValueError, ImportError or SetupError where it cannot."""


def minilm_loader(folder: Path | None, threads: int) -> LoadEncoder:
    """Loads all-MiniLM-L6-v2, fetched first if need be, or another encoder from a folder."""

    def load() -> SentenceEncoder:
        source = folder or ensure_minilm(progress=False)
        name = MINILM_ID if folder is None else folder.name
        encode = load_encoder(source, threads)
        width = WIDTH if folder is None else encode(["width"]).shape[1]
        return SentenceEncoder(f"{name}@{_digest(source)}", width, encode)

    return load


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()[:_DIGEST_CHARACTERS]

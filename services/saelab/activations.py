"""Collecting residual activations: a resumable step of its own, because it takes longest.

Windows of the whole corpus are shuffled and dealt into shards of about `shard_tokens` tokens. What a shard holds
depends on the settings and its number alone: a killed run loses the shard in the making, and workers share nothing.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from services.inference.embedded import resolve_model
from services.saelab.documents import TRAIN, read_documents
from services.saelab.errors import CorpusError
from services.saelab.residual import HookedModel, require_finite, stacked, used_positions, without_sinks
from services.saelab.shards import Shard, ShardFolder
from services.saelab.windows import Window, Windower, padded_batches, shuffled


@dataclass(frozen=True, slots=True)
class ActivationSettings:
    """Which activations of which model to collect, and how."""

    corpus: Path
    """Folder of the corpus; its training part is read."""
    out: Path
    """Folder of the shards."""
    model: str
    """Hub id, or folder of a Hugging Face checkpoint."""
    hook_point: str
    """Name of the block whose output is collected: `model.layers.15`."""
    tokens: int = 1_200_000
    """Collection ends with the shard that reaches so many tokens; less where the corpus has less."""
    window: int = 256
    """Longest run of tokens that the model reads at once."""
    shard_tokens: int = 16_384
    """Tokens of a shard before sinks are left out; a killed run loses so much at most."""
    batch: int = 8
    """Windows in one pass of the model."""
    seed: int = 0
    """Of the order of windows."""
    device: str = "cpu"
    """Where the model computes: cpu, cuda."""
    workers: int = 1
    """Processes that collect side by side, each with its own copy of the model."""
    threads: int = 1
    """CPU threads of each worker."""

    def run(self) -> dict[str, Any]:
        """What decides the contents of the shards."""
        digest = hashlib.sha256((self.corpus / TRAIN).read_bytes()).hexdigest()
        return {
            "model": self.model,
            "hook_point": self.hook_point,
            "window": self.window,
            "tokens": self.tokens,
            "shard_tokens": self.shard_tokens,
            "seed": self.seed,
            "corpus_sha256": digest,
        }


Progress = Callable[[int, int], None]
"""Called with the shards that are there and those that there will be."""


def collect(
    settings: ActivationSettings,
    model: HookedModel | None = None,
    tokenizer: Any = None,
    progress: Progress = lambda done, total: None,
) -> ShardFolder:
    """Collects what is missing of the run's shards. `model` and `tokenizer` are loaded unless given (one worker then).

    Raises HookPointError, BadActivation, RunMismatch, CorpusError.
    """
    if not (settings.corpus / TRAIN).is_file():
        raise CorpusError(f"no corpus at {settings.corpus}; make one with `hearth sae corpus`")
    folder = ShardFolder(settings.out)
    folder.claim(settings.run())
    tokenizer = tokenizer or load_tokenizer(settings.model)
    dealt = deal(settings, tokenizer)
    there = set(folder.indices())
    missing = [index for index in range(len(dealt)) if index not in there]
    progress(len(dealt) - len(missing), len(dealt))
    if settings.workers > 1 and model is None:
        done = _collected_by_workers(settings, [(index, dealt[index]) for index in missing])
    else:
        if missing:
            torch.set_num_threads(settings.threads)
            model = model or HookedModel.load(settings.model, settings.hook_point, settings.device)
        done = (_collect_shard(settings, model, index, dealt[index]) for index in missing if model)
    started = time.monotonic()
    for count, _ in enumerate(done, 1):
        folder.add_seconds(time.monotonic() - started)
        started = time.monotonic()
        progress(len(dealt) - len(missing) + count, len(dealt))
    return folder


def load_tokenizer(model: str) -> Any:
    """The tokenizer of a model by hub id or folder."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(resolve_model(model))


def deal(settings: ActivationSettings, tokenizer: Any) -> list[list[Window]]:
    """The windows of each shard, up to the number of tokens asked for."""
    documents = read_documents(settings.corpus / TRAIN)
    windows = shuffled(list(Windower(tokenizer, settings.window).windows(documents)), settings.seed)
    dealt: list[list[Window]] = []
    room, total = 0, 0
    for window in windows:
        if room <= 0:
            if total >= settings.tokens:
                break
            dealt.append([])
            room = settings.shard_tokens
        dealt[-1].append(window)
        room -= len(window.tokens)
        total += len(window.tokens)
    if not dealt:
        raise CorpusError(f"the corpus at {settings.corpus} has no documents long enough")
    return dealt


def make_shard(settings: ActivationSettings, model: HookedModel, index: int, windows: list[Window]) -> Shard:
    """The activations of the windows' used tokens without sinks, in random order."""
    kept, norms, used_tokens = [], [], 0
    for batch in padded_batches(windows, settings.batch):
        hidden = model.residuals(stacked(batch, model.device)).float()
        used = used_positions(batch, model.device)
        rows = hidden[used]
        require_finite(rows, settings.hook_point)
        kept.append(rows.cpu())
        norms.append(rows.norm(dim=-1).cpu())
        used_tokens += len(rows)
    activations, norm = torch.cat(kept), torch.cat(norms)
    keep = without_sinks(norm, torch.ones_like(norm, dtype=torch.bool))
    order = torch.randperm(
        int(keep.sum()), generator=torch.Generator().manual_seed(settings.seed * 1_000_003 + index)
    )
    return Shard(activations[keep][order].bfloat16(), norm[keep][order], used_tokens - len(order))


def _collect_shard(
    settings: ActivationSettings, model: HookedModel, index: int, windows: list[Window]
) -> int:
    ShardFolder(settings.out).write(index, make_shard(settings, model, index, windows))
    return index


_worker: dict[str, Any] = {}
"""A worker process's settings and model."""


def _start_worker(settings: ActivationSettings) -> None:
    torch.set_num_threads(settings.threads)
    _worker["settings"] = settings
    _worker["model"] = HookedModel.load(settings.model, settings.hook_point, settings.device)


def _work(index: int, windows: list[Window]) -> int:
    return _collect_shard(_worker["settings"], _worker["model"], index, windows)


def _collected_by_workers(
    settings: ActivationSettings, tasks: list[tuple[int, list[Window]]]
) -> Iterator[int]:
    context = get_context("spawn")
    with ProcessPoolExecutor(settings.workers, context, _start_worker, (settings,)) as pool:
        futures = [pool.submit(_work, index, windows) for index, windows in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()

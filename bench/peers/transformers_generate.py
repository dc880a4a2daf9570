"""transformers' `generate`, one request at a time or in static batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import transformers
from torch import Tensor

from bench.peers.base import Clock, in_static_batches
from bench.peers.source import load_module, middle_block
from bench.peers.splice import Splice
from bench.workload import Request, Stream


class TransformersGenerate:
    """Options: `dtype`, `device`, `static_cache` (which compiles on CUDA unless `compile` is false)."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        torch.set_num_threads(int(options["threads"]))
        self._options = options
        self._model: Any = load_module(options)
        generation = self._model.generation_config
        generation.eos_token_id = None
        generation.pad_token_id = 0
        self._splice: Splice | None = None
        self._spliced = middle_block(self._model)

    def about(self) -> str:
        cache = ", static cache" if self._options.get("static_cache") else ""
        return (
            f"transformers {transformers.__version__}, torch {torch.__version__}, {self._options['dtype']}"
            f" on {self._model.device}{cache}, attention {self._model.config._attn_implementation}"
        )

    def run(
        self, requests: Sequence[Request], max_batch: int | None, options: Mapping[str, Any]
    ) -> list[Stream]:
        handle = self._hook() if options.get("splice") else None
        try:
            return in_static_batches(requests, max_batch, self._generate)
        finally:
            if handle is not None:
                handle.remove()

    def _hook(self) -> Any:
        if self._splice is None:
            self._splice = Splice(int(self._model.config.get_text_config().hidden_size), self._model.device)

        def edit(_module: Any, _inputs: Any, output: Any) -> Any:
            assert self._splice is not None
            if isinstance(output, tuple):
                return (self._splice(output[0]), *output[1:])
            return self._splice(output)

        return self._model.get_decoder().layers[self._spliced].register_forward_hook(edit)

    @torch.inference_mode()
    def _generate(self, batch: list[Request], clock: Clock) -> list[list[float]]:
        if self._splice is not None and batch[0].edits:
            self._splice.begin([r.edits for r in batch])
        width = max(len(r.prompt) for r in batch)
        ids = torch.tensor([[0] * (width - len(r.prompt)) + list(r.prompt) for r in batch])
        mask = torch.tensor([[0] * (width - len(r.prompt)) + [1] * len(r.prompt) for r in batch])
        times: list[float] = []

        def note(tokens: Tensor, _scores: Tensor, **_: Any) -> Tensor:
            if tokens.device.type == "cuda":
                torch.cuda.synchronize()
            times.append(clock())
            return torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)

        sampling: dict[str, Any] = {"do_sample": False}
        if batch[0].sampled:
            sampling = {"do_sample": True, "temperature": 0.8, "top_k": 50, "top_p": 0.95}
        if self._options.get("static_cache"):
            sampling |= {
                "cache_implementation": "static",
                "disable_compile": not self._options.get("compile", True),
            }
        self._model.generate(
            ids.to(self._model.device),
            attention_mask=mask.to(self._model.device),
            max_new_tokens=max(r.new_tokens for r in batch),
            stopping_criteria=[note],
            **sampling,
        )
        return [times] * len(batch)


def load(options: Mapping[str, Any]) -> TransformersGenerate:
    """The peer."""
    return TransformersGenerate(options)

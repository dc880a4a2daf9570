"""vLLM's offline engine, stepped by hand so that requests can arrive while others run. In an environment of its own."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from bench.peers.base import Clock
from bench.workload import Request, Stream

MAX_SEQUENCES = 32


class VllmOffline:
    """Options: `dtype`, `eager`."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._vllm: Any = importlib.import_module("vllm")
        self._options = options
        llm = self._vllm.LLM(
            model=options["model"],
            dtype=options["dtype"],
            enforce_eager=bool(options.get("eager")),
            max_model_len=2048,
            max_num_seqs=MAX_SEQUENCES,
            enable_prefix_caching=False,
            disable_log_stats=True,
        )
        self._engine: Any = llm.llm_engine
        self._served = 0

    def about(self) -> str:
        mode = "eager" if self._options.get("eager") else "compiled"
        return f"vllm {self._vllm.__version__}, {self._options['dtype']}, {mode}, prefix cache off"

    def run(
        self, requests: Sequence[Request], max_batch: int | None, options: Mapping[str, Any]
    ) -> list[Stream]:
        if max_batch is not None:
            raise ValueError("vLLM batches by itself")
        clock = Clock()
        order = sorted(range(len(requests)), key=lambda n: requests[n].at)
        times: list[list[float]] = [[] for _ in requests]
        numbers: dict[str, int] = {}
        while order or self._engine.has_unfinished_requests():
            while order and requests[order[0]].at <= clock():
                n = order.pop(0)
                self._served += 1
                numbers[str(self._served)] = n
                self._add(str(self._served), requests[n])
            if not self._engine.has_unfinished_requests():
                clock.sleep_until(requests[order[0]].at)
                continue
            for output in self._engine.step():
                row = times[numbers[output.request_id]]
                row += [clock()] * (len(output.outputs[0].token_ids) - len(row))
        return [Stream(r.at, tuple(t), r.probe) for r, t in zip(requests, times, strict=True)]

    def _add(self, name: str, request: Request) -> None:
        sampling = (
            {"temperature": 0.8, "top_k": 50, "top_p": 0.95} if request.sampled else {"temperature": 0.0}
        )
        parameters = self._vllm.SamplingParams(
            max_tokens=request.new_tokens, ignore_eos=True, detokenize=False, **sampling
        )
        self._engine.add_request(name, {"prompt_token_ids": list(request.prompt)}, parameters)


def load(options: Mapping[str, Any]) -> VllmOffline:
    """The peer."""
    return VllmOffline(options)

"""Hearth's own engine in this process: the same objects that the inference service runs, without gRPC."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from bench.peers.base import Clock
from bench.peers.source import load_module, median_norm, middle_block
from bench.peers.splice import Splice, random_sae
from bench.workload import EditSpec, Kind, Request, Stream, edits_for
from services.inference.compiled import CompiledSteering, compile_steering
from services.inference.dtype import choose_dtype
from services.inference.engine import EngineLimits
from services.inference.gates import GateState
from services.inference.hooks import Segment, SteeredSequence, SteeringHook
from services.inference.host import Identity, ModelHost
from services.inference.model import LanguageModel
from services.inference.pairs import PairCache
from services.inference.sae.base import Architecture, Sae, SaeWeights
from services.inference.sampling import Sampling
from services.inference.sequence import Delta, Event, Failed, Finished
from services.inference.sequence import Sequence as Generation
from services.inference.tokenizer import Tokenizer
from services.steering.conditions import Comparison, FeatureKey, Operator
from services.steering.edits import Edit, Operation, Scope, Steering, Unit

SAE_ID = "bench"
_OPERATIONS = {"nudge": Operation.NUDGE, "pin": Operation.PIN, "scale": Operation.SCALE}


class HearthEngine:
    """Options: `dtype` (auto as the service chooses), `device`, `prefix_bytes`, `max_running`."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        torch.set_num_threads(int(options["threads"]))
        device = torch.device(options.get("device", "cpu"))
        dtype = choose_dtype(options["dtype"], device)
        module = load_module({**options, "dtype": str(dtype).removeprefix("torch.")})
        self._block = middle_block(module)
        self._median = median_norm(module, self._block)
        self._model = LanguageModel(module, dtype, device)
        W_enc, b_enc, W_dec, b_dec = random_sae(self._model.d_model, device)
        weights = SaeWeights(Architecture.RELU, W_enc, b_enc, W_dec, b_dec)
        self._sae = Sae(
            SAE_ID, weights, f"blocks.{self._block}.hook_resid_post", self._block, "", self._median
        )
        limits = EngineLimits(
            max_running=int(options.get("max_running", 32)),
            prefix_bytes=int(options.get("prefix_bytes", EngineLimits().prefix_bytes)),
        )
        tokenizer: Any = Tokenizer(options["model"]) if "model" in options else _NoTokenizer()
        identity = Identity("bench", "", "", "")
        self._host = ModelHost(identity, self._model, tokenizer, [self._sae], limits, frozenset())
        self._engine = self._host.engine
        self._engine.start()

    def about(self) -> str:
        limits = self._engine.limits
        return (
            f"torch {torch.__version__}, {str(self._model.dtype).removeprefix('torch.')} on {self._model.device}, "
            f"at most {limits.max_running} together, prefix cache {limits.prefix_bytes >> 20} MiB, SAE of "
            f"{self._sae.weights.d_sae} features at block {self._block} of {self._model.layer_count}"
        )

    def run(
        self, requests: Sequence[Request], max_batch: int | None, options: Mapping[str, Any]
    ) -> list[Stream]:
        collected = _Collected(requests)
        order = deque(sorted(range(len(requests)), key=lambda n: requests[n].at))
        steerings = {r.edits: _steering(r.edits) for r in requests}
        collected.clock = Clock()
        running = 0
        while order or running:
            while (
                order
                and (max_batch is None or running < max_batch)
                and requests[order[0]].at <= collected.clock()
            ):
                n = order.popleft()
                steering = steerings[requests[n].edits]
                self._engine.submit(self._generation(requests[n], steering, collected.sink(n), str(n)))
                running += 1
            running -= collected.finished_by(
                requests[order[0]].at if order and running != max_batch else None
            )
        return collected.streams()

    def _generation(self, request: Request, steering: Steering, sink: Any, owner: str) -> Generation:
        sampling = Sampling(temperature=0.0, max_tokens=request.new_tokens, ignore_end=True)
        if request.sampled:
            sampling = Sampling(0.8, 0.95, 50, request.new_tokens, seed=request.prompt[0], ignore_end=True)
        return self._host.generation(
            list(request.prompt), steering, sampling, sink, report=False, owner=owner
        )

    def hook_seconds(
        self, rows: int, kinds: list[Kind], configurations: int, repeats: int
    ) -> dict[str, float]:
        """Seconds of the hook alone at one decode step: one token of each row with its five edits; the least of all
        repeats, and their median. No kinds: the textbook splice of the same SAE."""
        h = torch.randn(rows, self._model.d_model).to(self._model.device, self._model.dtype)
        h *= self._median / h.float().norm(dim=-1, keepdim=True).to(h.dtype)
        edits = [edits_for(r % configurations, kinds or ("nudge", "pin", "scale")) for r in range(rows)]
        if not kinds:
            splice = Splice(self._model.d_model, self._model.device)
            splice.begin(edits)
            return _timed(lambda: splice(h[:, None]), repeats)
        compiled = [compile_steering(_steering(e), {SAE_ID: self._sae}) for e in edits]
        segments = [
            Segment(_steered_sequence(c), row, 1, 100, generated=True) for row, c in enumerate(compiled)
        ]

        pairs = PairCache()

        def step() -> None:
            hook = SteeringHook(segments, {self._block: self._median}, pairs)
            if hook.layers():
                hook(self._block, h.clone())

        future = self._engine.run_exclusively(lambda: _timed(step, repeats))
        return future.result()


class _NoTokenizer:
    """For models with random weights: any token is a character."""

    def text_bytes(self, token: int) -> bytes:
        return b"x"


class _Collected:
    """Token times of a run, filled in by the engine's thread."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self._requests = requests
        self._times: list[list[float]] = [[] for _ in requests]
        self._ended: queue.SimpleQueue[Failed | None] = queue.SimpleQueue()
        self.clock = Clock()

    def sink(self, n: int) -> Any:
        def take(events: list[Event]) -> None:
            now = self.clock()
            for event in events:
                if isinstance(event, Delta):
                    self._times[n] += [now] * len(event.choices)
                elif isinstance(event, Finished):
                    self._ended.put(None)
                elif isinstance(event, Failed):
                    self._ended.put(event)

        return take

    def finished_by(self, moment: float | None) -> int:
        """How many ended: waits for one at least, but no longer than until `moment`."""
        try:
            timeout = None if moment is None else max(0.0, moment - self.clock())
            failed = self._ended.get(timeout=timeout)
        except queue.Empty:
            return 0
        if failed is not None:
            raise failed.error
        return 1

    def streams(self) -> list[Stream]:
        return [Stream(r.at, tuple(t), r.probe) for r, t in zip(self._requests, self._times, strict=True)]


def _steering(edits: tuple[EditSpec, ...]) -> Steering:
    plain = tuple(
        Edit(FeatureKey(SAE_ID, e.feature), _OPERATIONS[e.kind], e.value)
        for e in edits
        if e.kind in _OPERATIONS
    )
    scopes = tuple(
        Scope(
            Comparison((FeatureKey(SAE_ID, e.feature + 1),), Operator.GREATER, 0.0),
            Steering((Edit(FeatureKey(SAE_ID, e.feature), Operation.NUDGE, e.value),)),
        )
        for e in edits
        if e.kind == "condition"
    )
    return Steering(plain, scopes, unit=Unit.RAW)


def _steered_sequence(compiled: CompiledSteering) -> SteeredSequence:
    return SteeredSequence(compiled, GateState(compiled) if compiled.scopes else None)


@torch.inference_mode()
def _timed(work: Any, repeats: int) -> dict[str, float]:
    for _ in range(3):
        work()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return {"least": min(seconds), "median": sorted(seconds)[repeats // 2]}


def load(options: Mapping[str, Any]) -> HearthEngine:
    """The peer."""
    return HearthEngine(options)

"""The engine on torch: one thread owns torch; each step runs one or more passes over all running sequences."""

from __future__ import annotations

from typing import ClassVar

from services.inference.advance import Advance
from services.inference.answers import Vocabulary
from services.inference.engine_thread import EngineLimits as EngineLimits
from services.inference.engine_thread import EngineThread
from services.inference.model import LanguageModel
from services.inference.prefix import PrefixCache
from services.inference.scheduler import plan
from services.inference.sequence import Sequence, Started
from services.inference.version import ENGINE_VERSION

ON_GPU = EngineLimits(max_running=256, prefill_busy=1024, prefill_idle=4096)
"""Where a step costs about the same for one token and for a thousand."""


class Engine(EngineThread):
    """Runs requests through one model in this process."""

    name: ClassVar[str] = "torch"
    version: ClassVar[str] = ENGINE_VERSION

    def __init__(
        self,
        model: LanguageModel,
        vocabulary: Vocabulary,
        limits: EngineLimits,
        median_norms: dict[int, float],
    ) -> None:
        super().__init__(limits)
        self.model = model
        lowest = min(median_norms, default=model.layer_count)
        split = max(0, min(lowest, model.layer_count - 2))
        budget = limits.prefix_bytes if model.layer_count > 1 else 0  # one block has no lower half
        self.prefix = PrefixCache(split, budget)
        self._advance = Advance(model, vocabulary, self.prefix, median_norms)
        self.steering = self._advance.steering

    def _advance_all(self) -> None:
        """Runs a pass for each way through the model, and delivers."""
        self._make_room()
        self.prefix.begin(self.running, self.model.kv)
        everyone = [s for r in self.running for s in ([r.shadow, r] if r.shadow is not None else [r])]
        for batch in plan(everyone, self.prefix.split, self.limits.prefill_busy, self.limits.prefill_idle):
            for sequence, events, done in self._advance(batch):
                if done:
                    self._end(sequence, events)
                elif events:
                    self._tell(sequence, events)

    def _has_room(self, sequence: Sequence) -> bool:
        places = 1 if sequence.shadow is None else 2
        taken = sum(1 if s.shadow is None else 2 for s in self.running)
        room = self.limits.kv_tokens - self._tokens_held()
        need = places * self.model.kv.capacity_for(sequence.prompt_tokens)
        return taken + places <= self.limits.max_running and need <= room

    def _enter(self, sequence: Sequence) -> None:
        kv = self.model.kv
        sequence.lane = kv.acquire(sequence.prompt_tokens)
        if sequence.shadow is not None:
            sequence.shadow.lane = kv.acquire(sequence.prompt_tokens)
            sequence.shadow.begun = True
        sequence.chain = self.prefix.chain(sequence.tokens)
        if sequence.sampling is not None:
            self._tell(sequence, [Started(sequence.prompt_tokens, sequence.sampling.seed)])

    def _make_room(self) -> None:
        """Moves sequences that outgrow their bucket."""
        kv = self.model.kv
        for leader in self.running:
            for sequence in (leader, leader.shadow):
                if sequence is not None and sequence.decoding and sequence.lane is not None:
                    sequence.lane = kv.move(sequence.lane, sequence.computed, sequence.computed + 1)

    def _tokens_held(self) -> int:
        lanes = [s.lane for r in self.running for s in (r, r.shadow) if s is not None and s.lane is not None]
        return sum(lane.capacity for lane in lanes)

    def _release(self, sequence: Sequence) -> None:
        for one in (sequence, sequence.shadow):
            if one is not None and one.lane is not None:
                self.model.kv.release(one.lane, one.lane.capacity)
                one.lane = None

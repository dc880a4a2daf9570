"""The engine that serves the model, driven from the lab: many steered texts side by side, without a server."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from services.errors import HearthError
from services.inference.host import ModelHost
from services.inference.load import load_host
from services.inference.sampling import Sampling
from services.inference.selftest import SteeringBroken
from services.inference.sequence import Delta, Event, Failed, Finished, FinishReason
from services.inference.settings import InferenceSettings
from services.saelab.errors import SaeLabError
from services.steering.edits import Steering

_PREFILL, _PREFILL_ON_GPU = 512, 8192
"""Prompt tokens a step: nobody waits for a first token here."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One text to be written."""

    prompt: tuple[int, ...]
    """Tokens."""
    steering: Steering
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Told:
    """One text that was written."""

    tokens: tuple[int, ...]
    """Without the token that ended it."""
    ended: bool
    """Whether the model ended it, not the limit."""


@contextmanager
def lab_engine(model: str, sae: Path | None, rows: int, threads: int, device: str) -> Iterator[ModelHost]:
    """The model, with one SAE or none, on an engine of its own that runs so many texts together.

    The doctor's refusal does not count: measuring a bad SAE is how one learns that it is bad. Raises SaeLabError where
    steering does not work.
    """
    prefill = _PREFILL if device == "cpu" else _PREFILL_ON_GPU
    settings = InferenceSettings(
        model=model,
        saes=[str(sae)] if sae else [],
        allow_mismatch=True,
        device=device,
        threads=threads,
        max_running=rows,
        max_waiting=1 << 16,
        prefill_busy=prefill,
        prefill_idle=prefill,
    )
    try:
        host = load_host(settings)
    except SteeringBroken as error:
        raise SaeLabError(f"{model} cannot be run with {sae or 'our engine'}: {error}") from error
    try:
        yield host
    finally:
        host.engine.stop()


@dataclass(slots=True)
class _Hearing:
    """What came of one text so far."""

    number: int
    done: queue.SimpleQueue[int]
    tokens: list[int] = field(default_factory=list)
    ended: bool = False
    error: HearthError | None = None

    def sink(self, events: list[Event]) -> None:
        """Takes events; called on the engine's thread."""
        for event in events:
            match event:
                case Delta(choices=choices):
                    self.tokens += [choice.token for choice in choices]
                case Finished(reason=reason):
                    self.ended = reason is FinishReason.STOP
                    self.done.put(self.number)
                case Failed(error):
                    self.error = error
                    self.done.put(self.number)


def tell_all(host: ModelHost, asks: Sequence[Ask]) -> list[Told]:
    """The texts, in order of the asks; the same for an ask whatever is asked with it. Raises SaeLabError."""
    done: queue.SimpleQueue[int] = queue.SimpleQueue()
    hearings = [_Hearing(number, done) for number in range(len(asks))]
    try:
        for ask, hearing in zip(asks, hearings, strict=True):
            host.engine.submit(
                host.generation(
                    list(ask.prompt), ask.steering, ask.sampling, hearing.sink, report=False, owner="sae lab"
                )
            )
        for _ in asks:
            error = hearings[done.get()].error
            if error is not None:
                raise error
    except HearthError as error:
        raise SaeLabError(f"the engine stopped writing: {error}") from error
    return [Told(tuple(hearing.tokens), hearing.ended) for hearing in hearings]

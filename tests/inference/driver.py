"""Requests to an engine that is stepped by hand, so that every arrival falls on the step that a test chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from services.inference.answers import Vocabulary
from services.inference.compiled import compile_steering
from services.inference.engine import Engine, EngineLimits
from services.inference.gates import GateState
from services.inference.hooks import SteeredSequence
from services.inference.report import ReportBook
from services.inference.sae.base import Sae
from services.inference.sampling import Sampling
from services.inference.sequence import (
    Delta,
    Event,
    Failed,
    Finished,
    FinishReason,
    Read,
    Sequence,
    Triggered,
)
from services.inference.text import TextStream
from services.steering.edits import Positions, Steering
from services.steering.fingerprint import fingerprint
from tests.inference.tiny import ENDLESS, Tiny

NOTHING = Steering()
GREEDY = Sampling(temperature=0, max_tokens=8, logprobs=True)


@dataclass(frozen=True)
class Request:
    """What a caller asks for."""

    prompt: tuple[int, ...]
    steering: Steering = NOTHING
    sampling: Sampling = GREEDY
    report: bool = False
    owner: str = ""
    deadline: float | None = None
    reuse: bool = True


@dataclass
class Answer:
    """What came back."""

    sequence: Sequence
    events: list[Event] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return any(isinstance(e, Finished | Failed | Read) for e in self.events)

    @property
    def finished(self) -> Finished:
        (last,) = [e for e in self.events if isinstance(e, Finished)]
        assert self.events[-1] is last
        return last

    @property
    def reason(self) -> FinishReason:
        return self.finished.reason

    @property
    def tokens(self) -> list[int]:
        return [c.token for e in self.events if isinstance(e, Delta) for c in e.choices]

    @property
    def logprobs(self) -> list[float | None]:
        return [c.logprob for e in self.events if isinstance(e, Delta) for c in e.choices]

    @property
    def text(self) -> str:
        return "".join(e.text for e in self.events if isinstance(e, Delta))

    @property
    def triggered(self) -> list[tuple[str, int, tuple[int, ...]]]:
        return [(e.event, e.position, e.path) for e in self.events if isinstance(e, Triggered)]


def sequence_of(request: Request, saes: Mapping[str, Sae], sink: Callable[[list[Event]], None]) -> Sequence:
    """A request, compiled as the service does it."""
    steering = request.steering
    compiled = None if steering.empty else compile_steering(steering, saes, request.report)
    gates = GateState(compiled) if compiled is not None and compiled.scopes else None
    book = ReportBook() if request.report and compiled is not None else None
    tokens = list(request.prompt)
    name: str | None = fingerprint(steering) if steering.positions is not Positions.GENERATED else ""
    if gates is not None or book is not None or steering.gates_on_entropy or not request.reuse:
        name = None
    sequence = Sequence(
        tokens,
        len(tokens),
        SteeredSequence(compiled, gates, book),
        sink,
        sampling=request.sampling,
        owner=request.owner,
        deadline=request.deadline,
        fingerprint=name,
        text=TextStream(request.sampling.stop),
    )
    if steering.gates_on_entropy:
        sequence.shadow = Sequence(tokens, len(tokens), SteeredSequence(), lambda _: None, is_shadow=True)
    return sequence


def engine_of(model: Tiny, limits: EngineLimits | None = None, vocabulary: Vocabulary = ENDLESS) -> Engine:
    """An engine whose thread is not started."""
    return Engine(model.model, vocabulary, limits or EngineLimits(), model.medians)


def submit(engine: Engine, request: Request, saes: Mapping[str, Sae]) -> Answer:
    """Queues a request."""
    answer = Answer.__new__(Answer)
    answer.events = []
    answer.sequence = sequence_of(request, saes, lambda events: answer.events.extend(events))
    engine.submit(answer.sequence)
    return answer


def step(engine: Engine) -> None:
    """What the engine's thread does in one turn, without waiting."""
    engine._inbox.put(lambda: None)
    engine._take_in()
    engine.step()


def finish(engine: Engine, limit: int = 100_000) -> None:
    """Steps until nothing is left."""
    for _ in range(limit):
        if engine.pending == 0:
            return
        step(engine)
    raise AssertionError(f"{engine.pending} requests are stuck")


def answer(engine: Engine, request: Request, saes: Mapping[str, Sae]) -> Answer:
    """The answer to one request that is alone."""
    result = submit(engine, request, saes)
    finish(engine)
    return result

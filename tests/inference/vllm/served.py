"""The tiny model on vLLM, and requests to it as driver.py makes them to the torch engine."""

from __future__ import annotations

import queue
import tempfile
from collections.abc import Sequence as Several
from functools import cache
from pathlib import Path

from services.inference.answers import Vocabulary
from services.inference.engine_thread import EngineLimits
from services.inference.sequence import Event, Failed, Finished, Read, Sequence, Triggered
from services.inference.vllm.engine import VllmEngine
from services.inference.vllm.runtime import Runtime
from tests.inference.driver import Answer, Request, sequence_of
from tests.inference.tiny import Tiny, piece, tiny

CONTEXT = 512
TIMEOUT = 120.0
HEAD_DIM = 32
"""vLLM's attention has no heads of 8, which the other tests' model has."""


def wide() -> Tiny:
    """The tests' model with wider heads."""
    return tiny(head_dim=HEAD_DIM)


@cache
def folder() -> Path:
    """Its files; removed with the process's other temporary files."""
    path = Path(tempfile.mkdtemp(prefix="hearth-tiny-"))
    wide().plain.save_pretrained(path)
    return path


def start(
    limits: EngineLimits | None = None, ends: frozenset[int] = frozenset(), **settings: object
) -> VllmEngine:
    """An engine that runs, with the tests' SAEs."""
    runtime = Runtime(folder(), CONTEXT, "float32", kv_bytes=64 << 20, **settings)  # type: ignore[arg-type]
    engine = VllmEngine(runtime, Vocabulary(piece, ends), limits or EngineLimits())
    engine.start()
    engine.serve(list(wide().saes.values()), wide().medians)
    return engine


def ask_all(engine: VllmEngine, requests: Several[Request]) -> list[Answer]:
    """The answers to requests that run together."""
    answers, done = [], queue.SimpleQueue[int]()
    for number, request in enumerate(requests):
        answers.append(one := Answer.__new__(Answer))
        one.events = []

        def sink(events: list[Event], one: Answer = one, number: int = number) -> None:
            one.events += events
            if any(isinstance(event, Finished | Read | Failed) for event in events):
                done.put(number)

        one.sequence = sequence_of(request, wide().saes, sink)
        engine.submit(one.sequence)
    for _ in requests:
        done.get(timeout=TIMEOUT)
    return answers


def ask(engine: VllmEngine, request: Request) -> Answer:
    """The answer to one request that is alone."""
    return ask_all(engine, [request])[0]


def wait_for(engine: VllmEngine, sequence: Sequence) -> Read:
    """What a read answers."""
    told: queue.SimpleQueue[Event] = queue.SimpleQueue()
    sequence.sink = lambda events: [told.put(event) for event in events] and None
    engine.submit(sequence)
    while isinstance(event := told.get(timeout=TIMEOUT), Triggered):
        continue
    assert isinstance(event, Read), event
    return event

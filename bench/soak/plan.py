"""What a run is to do: how many researchers, how long, how long they think, and what goes wrong when."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

DECODE, PREFILL = 218.0, 340.0
"""Tokens a second of the embedded default on two quiet cores: bench/RESULTS.md, and its rate with prefill, solved for
the prefill of 64 tokens."""
SHARE = 0.25
"""Of these rates, what the researchers' requests ask for on average. The rest is for auto-steer's jobs, which take what
they can get, the other processes, the clients, which all share the cores, and for catching up after an outage."""
SHORTEST_THINK = 4.0
DECK: Mapping[str, int] = {
    "chat": 8,
    "search": 3,
    "variant": 2,
    "lookup": 2,
    "inspect": 2,
    "contrast": 1,
    "classify": 1,
    "label": 1,
}
"""What a researcher does in twenty steps; each has the same deck, shuffled, so that all demand alike."""
TOKENS: Mapping[str, tuple[int, int]] = {
    "chat": (50, 12),
    "variant": (50, 12),
    "inspect": (30, 0),
    "contrast": (120, 0),
    "classify": (120, 0),
}
"""Tokens of prompt and answer that a step costs; those that are not here cost the engine nothing."""
ANSWER_TOKENS = 12
JOB_SECONDS = 20
"""The budget of an auto-steer job of the researchers."""
JOB_EVERY = 90.0
"""Seconds from one researcher's job to the next one's: quick ones run one after the other, each for 20 s and its last
stage."""
SDK_SHARE = 0.04
"""Of the researchers, who goes through Ember's SDK; of the others half goes through HTTP, half speaks gRPC."""
SDK_PROCESSES = 2
QUOTA_EVERY, QUOTA_PER_MINUTE = 50, 2
"""Each so many researchers one has a key with that quota of requests a minute, and runs into it."""
TARGETS = ("inference", "features", "autosteer", "worker", "broker", "gateway")
"""The processes of `hearth up`."""
PAUSES: Mapping[str, float] = {"features": 6.0, "broker": 12.0}
"""What is stopped in its tracks, and for how many seconds. The catalogue's engine runs in the features process."""
FLOODS = ("inference", "autosteer")
SPACING = 33.0
"""Seconds between two misfortunes, at least; a shorter run has fewer of them rather than denser ones."""
QUIET = 0.35
"""The last part of a run in which nothing goes wrong, so that memory is seen at rest."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    minutes: float
    researchers: int
    seed: int
    chaos: bool
    postgres: bool
    think: float | None
    replays: int
    out: Path

    @property
    def seconds(self) -> float:
        return 60 * self.minutes

    @property
    def warm_up(self) -> float:
        """Seconds before anything goes wrong."""
        return min(180.0, 0.12 * self.seconds)

    @property
    def think_seconds(self) -> float:
        """The mean time from an answer to the next step."""
        asked = self.researchers * step_seconds() / SHARE
        return self.think or max(SHORTEST_THINK, asked)


def step_seconds() -> float:
    """What a step costs the engine on average, in seconds of two quiet cores."""
    cards = sum(DECK.values())
    return sum(DECK[step] * (p / PREFILL + d / DECODE) for step, (p, d) in TOKENS.items()) / cards


def way_of(number: int, researchers: int) -> str:
    """Through what a researcher asks: `sdk`, `http` or `grpc`."""
    if number < max(1, round(SDK_SHARE * researchers)):
        return "sdk"
    return "http" if number % 2 else "grpc"


@dataclass(frozen=True, slots=True)
class Misfortune:
    """Something that goes wrong."""

    at: float
    """Seconds after the start, at the earliest: the one before must be over."""
    kind: str
    """`kill`, `pause`, `flood` or `crash` (of PostgreSQL)."""
    target: str

    @property
    def name(self) -> str:
        return f"{self.kind} {self.target}"


def schedule(options: Options) -> Sequence[Misfortune]:
    """What goes wrong: everything once, then again in another order, as often as there is time."""
    if not options.chaos:
        return []
    kinds = [("kill", target) for target in TARGETS]
    kinds += [("pause", target) for target in PAUSES] + [("flood", target) for target in FLOODS]
    if options.postgres:
        kinds.append(("crash", "postgres"))
    draw = random.Random(f"chaos {options.seed}")
    end = (1 - QUIET) * options.seconds
    found: list[Misfortune] = []
    at = options.warm_up
    while at < end:
        for kind, target in draw.sample(kinds, len(kinds)):
            if at < end:
                found.append(Misfortune(at, kind, target))
            at += SPACING * draw.uniform(1.0, 1.3)
    return found


def job_times(options: Options) -> Mapping[int, Sequence[float]]:
    """When which researcher wants a job of auto-steer; none so late that it could not end."""
    draw = random.Random(f"jobs {options.seed}")
    times: dict[int, list[float]] = {}
    at = min(15.0, 0.1 * options.seconds)
    while at < options.seconds - 2 * JOB_SECONDS:
        times.setdefault(draw.randrange(options.researchers), []).append(at)
        at += JOB_EVERY * draw.uniform(0.8, 1.2)
    return times

"""A race: the same load for several entrants, in rounds that alternate their order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from bench.measures import Measure
from bench.workload import Request, Stream


@dataclass(frozen=True, slots=True)
class Entrant:
    """One row of a table: a peer and how it is used."""

    label: str
    peer: str
    shape: Callable[[list[Request]], list[Request]] = list
    """Makes the case's requests this entrant's own: adds edits, or takes fewer where it is slow."""
    max_batch: int | None = None
    """How many requests it takes at once; None leaves it to the peer."""
    options: Mapping[str, object] = field(default_factory=dict)
    """What else the peer is told."""


@dataclass(frozen=True, slots=True)
class Case:
    """One load; `requests` makes it from a seed, so that no two runs share prompts."""

    name: str
    requests: Callable[[str], list[Request]]


@dataclass(frozen=True, slots=True)
class Race:
    """A benchmark. The report tells the ratio of the entrant `subject` to each other one in the number `metric`."""

    name: str
    title: str
    explains: str
    entrants: tuple[Entrant, ...]
    cases: tuple[Case, ...]
    quick_cases: tuple[Case, ...]
    measure: Measure
    metric: str
    unit: str
    subject: str
    higher_is_better: bool = True
    goals: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """(case, entrant): the least ratio that the project promises."""


class PeerFailed(RuntimeError):
    """A peer could not be started, or broke."""


class Runner(Protocol):
    """Runs requests on a named peer, started at the first call; raises PeerFailed. See bench.peers.process."""

    def run(
        self, peer: str, requests: Sequence[Request], max_batch: int | None, options: Mapping[str, object]
    ) -> list[Stream]: ...


WARM_UP_TOKENS = 4

T = TypeVar("T")
Results = dict[str, dict[str, list[dict[str, float]]]]
"""By case, by entrant's label: the numbers of each round."""


def orders(entrants: Sequence[T], rounds: int) -> Iterator[tuple[int, list[T]]]:
    """The order of each round: forwards, backwards, forwards, …"""
    for number in range(rounds):
        yield number, list(entrants if number % 2 == 0 else reversed(entrants))


@dataclass(slots=True)
class Outcome:
    """What a race brought."""

    results: Results = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    """Why an entrant's numbers are missing, by its label."""


def run_race(
    race: Race, runner: Runner, rounds: int, quick: bool, tell: Callable[[str], None], peers: str = ""
) -> Outcome:
    """Runs all cases; a few tokens that are not counted warm every entrant up first.

    Only entrants whose peer's name matches the expression `peers` run, and the subject. One that fails is out.
    """
    outcome = Outcome()
    able = [e for e in race.entrants if e.label == race.subject or re.search(peers, e.peer)]
    for case in race.quick_cases if quick else race.cases:
        numbers: dict[str, list[dict[str, float]]] = {entrant.label: [] for entrant in able}
        for number, order in orders(able, rounds):
            for entrant in order:
                if entrant.label in outcome.failures:
                    continue
                try:
                    if number == 0:
                        _once(race, case, entrant, runner, "warm-up", WARM_UP_TOKENS)
                    measured = race.measure(_once(race, case, entrant, runner, f"round {number}"))
                except PeerFailed as failed:
                    outcome.failures[entrant.label] = str(failed)
                    tell(f"{race.name}: {entrant.label} is out: {failed}")
                    continue
                numbers[entrant.label].append(measured)
                value = f"{measured[race.metric]:.3g} {race.unit}"
                tell(f"{race.name}, {case.name}, round {number + 1}: {entrant.label}: {value}")
        outcome.results[case.name] = {k: v for k, v in numbers.items() if k not in outcome.failures}
    return outcome


def _once(
    race: Race, case: Case, entrant: Entrant, runner: Runner, moment: str, longest: int | None = None
) -> list[Stream]:
    requests = entrant.shape(case.requests(f"{race.name} {case.name} {entrant.label} {moment}"))
    if longest is not None:
        requests = [replace(r, new_tokens=min(r.new_tokens, longest), at=0.0) for r in requests]
    return runner.run(entrant.peer, requests, entrant.max_batch, entrant.options)

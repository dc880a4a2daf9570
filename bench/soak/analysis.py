"""From the records of a run to numbers and verdicts."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

from bench.soak.journal import Record
from bench.soak.plan import DECK

LEAST_FAIR = 0.9
MOST_GROWTH = 0.05
MOST_RECOVERY = 15.0
"""Seconds."""
WARM_UP = 240.0
"""Seconds of a process's life that do not count for its memory: caches fill, the engine's KV cache and the allocator
come to their highest marks (after 2 minutes inference still grew by 5 to 7 % in 4 minutes, after 4 by 1 to 2 %)."""
LEAST_STEPS = 5
"""Of each researcher on average: who took one step or two differ by chance alone."""
SHORTEST_LIFE = 180.0
"""Seconds after the warm-up that a process must have lived for its memory to be judged."""


def jain(values: Sequence[float]) -> float:
    """Jain's fairness index: 1 where all have the same, 1/n where one has everything."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share lies, by the nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Theil and Sen's: the median of the slopes between all pairs. Steps and peaks do not tilt it as they do a mean."""
    thinned = points[:: max(1, len(points) // 150)]
    slopes = [
        (y2 - y1) / (x2 - x1) for n, (x1, y1) in enumerate(thinned) for x2, y2 in thinned[n + 1 :] if x2 > x1
    ]
    return median(slopes) if slopes else 0.0


@dataclass(frozen=True, slots=True)
class Growth:
    """The memory of one process from one start to its end."""

    name: str
    pid: int
    seconds: float
    """After the warm-up."""
    begin: float
    """Bytes at the end of the warm-up, by the fitted line."""
    share: float
    """By which it grew since then, along the line."""

    @property
    def judged(self) -> bool:
        return self.seconds >= SHORTEST_LIFE


def growths(records: Iterable[Record], warm_up: float = WARM_UP) -> list[Growth]:
    """One for each life of each process that outlived its warm-up."""
    lives: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for record in records:
        if record["kind"] == "usage":
            for name, (pid, resident, _) in record["processes"].items():
                lives[name, pid].append((record["t"], resident))
    found = []
    for (name, pid), points in lives.items():
        after = [point for point in points if point[0] >= points[0][0] + warm_up]
        if len(after) < 3:
            continue
        seconds = after[-1][0] - after[0][0]
        rise = slope(after) * seconds
        begin = median(y for _, y in after) - rise / 2
        found.append(Growth(name, pid, seconds, begin, rise / begin if begin else 0.0))
    return found


@dataclass(frozen=True, slots=True)
class Recovery:
    """A misfortune, and how long until the first good answer after it; None where none came."""

    what: str
    target: str
    at: float
    seconds: float | None


def recoveries(records: Iterable[Record]) -> list[Recovery]:
    """Of all misfortunes but floods, from which there is nothing to recover."""
    began: dict[tuple[str, str], float] = {}
    found = []
    for record in records:
        if record["kind"] == "misfortune":
            began[record["what"], record["target"]] = record["t"]
        elif record["kind"] == "over" and record["what"] != "flood":
            at = began[record["what"], record["target"]]
            found.append(Recovery(record["what"], record["target"], at, record["seconds"]))
    return found


def fairness(records: Iterable[Record]) -> dict[str, float]:
    """Jain's index by what is shared: the steps of the researchers, and each flood's service at its half time."""
    steps: dict[str, Counter[int]] = defaultdict(Counter)
    served: dict[str, list[int]] = defaultdict(list)
    for record in records:
        if record["kind"] in ("done", "given up") and record["who"] >= 0 and record["step"] in DECK:
            steps[record["way"]][record["who"]] += record["kind"] == "done"
        elif record["kind"] == "served":
            served[record["flood"]].append(record["owner"])
    found = {
        f"steps taken, {way}": jain(list(counts.values()))
        for way, counts in sorted(steps.items())
        if sum(counts.values()) >= LEAST_STEPS * len(counts)
    }
    for number, owners in enumerate(served.values(), start=1):
        half = Counter(owners[: len(owners) // 2])
        found[f"flood {number}, served at half time"] = jain([half[owner] for owner in set(owners)])
    return found


@dataclass(frozen=True, slots=True)
class Latency:
    """How long a step took, every wait and every retry included, in seconds."""

    step: str
    way: str
    count: int
    p50: float
    p95: float
    p99: float
    retried: int


def latencies(records: Iterable[Record]) -> list[Latency]:
    """By step and way."""
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    retried: Counter[tuple[str, str]] = Counter()
    for record in records:
        if record["kind"] == "done":
            key = record["step"], record["way"]
            seconds[key].append(record["seconds"])
            retried[key] += record["tries"] > 1
    return [
        Latency(
            step,
            way,
            len(values),
            percentile(values, 0.5),
            percentile(values, 0.95),
            percentile(values, 0.99),
            retried[step, way],
        )
        for (step, way), values in sorted(seconds.items())
    ]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One of the claims, and what was seen."""

    claim: str
    seen: str
    holds: bool | None
    """None where the run was too short, or the claim was not tried."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that a report is made of."""

    verdicts: list[Verdict]
    errors: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """Failed attempts by kind, code and step."""
    wrong: list[Record] = field(default_factory=list)
    lost: list[Record] = field(default_factory=list)
    crossed: list[Record] = field(default_factory=list)


def judge(records: Sequence[Record], faults: Counter[str]) -> Outcome:
    """The verdicts on a run; `faults` are what the processes' logs say."""
    of: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        of[record["kind"]].append(record)
    errors = Counter((r["why"], r["code"], r["step"]) for r in of["failed"])
    wrong = [r for r in of["failed"] if r["why"] == "wrong"] + of["given up"]
    checked = {r["what"]: r["count"] for r in of["checked"]}
    lost_jobs = [r for r in of["lost"] if r["what"] in ("job", "events")]
    lost = [r for r in of["lost"] if r["what"] not in ("job", "events")]
    told = ", ".join(f"{count} {what}" for what, count in checked.items())
    texts = checked.get("texts asked again alone")
    verdicts = [
        Verdict(
            "no acknowledged job fails",
            f"{len(lost_jobs)} of {checked.get('jobs', 0)}",
            _none(lost_jobs, checked),
        ),
        Verdict(
            "no stream is another one's",
            f"{len(of['crossed'])}; {texts or 0} texts asked again alone",
            _none(of["crossed"], texts),
        ),
        Verdict(
            "no INTERNAL, no 500, nobody gives up",
            f"{len(wrong)} at clients, {sum(faults.values())} in the logs",
            not wrong and not faults,
        ),
        Verdict("nothing acknowledged is lost", f"{len(lost)} of {told or 'nothing'}", _none(lost, checked)),
        _queues(of),
        _memory(growths(records)),
        _recovered(recoveries(records)),
        _fair(fairness(records)),
    ]
    return Outcome(verdicts, errors, wrong, of["lost"], of["crossed"])


def _none(found: Sequence[object], checked: object) -> bool | None:
    return not found if found or checked else None


def _queues(of: dict[str, list[Record]]) -> Verdict:
    refused = [r for r in of["failed"] if r["why"] == "refused" and r["way"] != "sdk"]
    silent = sum(r["retry_after"] is None for r in refused)
    floods = [r for r in of["misfortune"] if r["what"] == "flood"]
    seen = (
        f"{len(refused)} refused in {len(floods)} floods and by quotas, {silent} without a time to come back, "
        f"{len(of['unserved'])} never served"
    )
    holds = not silent and not of["unserved"] and bool(refused)
    return Verdict(
        "queues are bounded: refused with Retry-After, served later", seen, holds if floods else None
    )


def _memory(found: Sequence[Growth]) -> Verdict:
    judged = [each for each in found if each.judged]
    claim = f"memory of each process is flat within {MOST_GROWTH:.0%}"
    if not judged:
        return Verdict(claim, "no process lived long enough undisturbed", None)
    worst = max(judged, key=lambda each: each.share)
    seen = f"at most {worst.share:+.1%} ({worst.name}, over {worst.seconds:.0f} s), {len(judged)} lives of processes"
    return Verdict(claim, seen, worst.share <= MOST_GROWTH)


def _recovered(found: Sequence[Recovery]) -> Verdict:
    claim = f"each killed process answers again within {MOST_RECOVERY:.0f} s"
    killed = [each for each in found if each.what in ("kill", "crash")]
    if not killed:
        return Verdict(claim, "none was killed", None)
    worst = max(killed, key=lambda each: float("inf") if each.seconds is None else each.seconds)
    took = "never" if worst.seconds is None else f"{worst.seconds:.1f} s"
    holds = worst.seconds is not None and worst.seconds <= MOST_RECOVERY
    return Verdict(claim, f"{len(killed)} kills, at most {took} ({worst.target})", holds)


def _fair(found: dict[str, float]) -> Verdict:
    claim = f"Jain's index between users of like demand is at least {LEAST_FAIR}"
    if not found:
        return Verdict(claim, "too few steps to tell", None)
    worst = min(found, key=lambda each: found[each])
    return Verdict(claim, f"at least {found[worst]:.3f} ({worst})", found[worst] >= LEAST_FAIR)


def rates(records: Iterable[Record], width: float) -> tuple[list[float], list[float], list[float]]:
    """Steps done and attempts failed a second, in bins of `width` seconds: the bins' middles, then both."""
    done: Counter[int] = Counter()
    failed: Counter[int] = Counter()
    for record in records:
        if record["kind"] in ("done", "failed"):
            (done if record["kind"] == "done" else failed)[int(record["t"] // width)] += 1
    bins = range(max([*done, *failed], default=-1) + 1)
    return (
        [(n + 0.5) * width for n in bins],
        [done[n] / width for n in bins],
        [failed[n] / width for n in bins],
    )


def processor(records: Iterable[Record]) -> dict[str, float]:
    """Cores that each process kept busy on average while it lived."""
    samples: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for record in records:
        if record["kind"] == "usage":
            for name, (pid, _, cpu) in record["processes"].items():
                samples[name, pid].append((record["t"], cpu))
    busy: dict[str, float] = defaultdict(float)
    lived: dict[str, float] = defaultdict(float)
    for (name, _), points in samples.items():
        for (t1, c1), (t2, c2) in pairwise(points):
            busy[name] += c2 - c1
            lived[name] += t2 - t1
    return {name: busy[name] / lived[name] for name in busy if lived[name]}

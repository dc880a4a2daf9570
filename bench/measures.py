"""From token times to numbers, and from the numbers of rounds to medians and ratios."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import median

from bench.workload import Stream

Measure = Callable[[Sequence[Stream]], dict[str, float]]


def decode_rate(streams: Sequence[Stream]) -> float:
    """Tokens a second while the most streams decode together, each from its first token to its last.

    So neither prefill nor the ragged ends count. Streams that run one by one give the rate of their own decoding.
    """
    periods = _busiest(streams)
    seconds = sum(end - begin for begin, end in periods)
    tokens = sum(
        bisect_right(s.tokens, end) - bisect_right(s.tokens, begin) for s in streams for begin, end in periods
    )
    return tokens / seconds if seconds > 0 else math.nan


def _busiest(streams: Sequence[Stream]) -> list[tuple[float, float]]:
    """The periods in which the most streams decode."""
    changes = sorted([(s.tokens[0], 1) for s in streams] + [(s.tokens[-1], -1) for s in streams])
    counts = list(accumulate(change for _, change in changes))
    return [(changes[n][0], changes[n + 1][0]) for n, count in enumerate(counts[:-1]) if count == max(counts)]


def total_rate(streams: Sequence[Stream]) -> float:
    """Tokens a second from the first arrival to the last token, prefill included."""
    return sum(len(s.tokens) for s in streams) / (
        max(s.tokens[-1] for s in streams) - min(s.at for s in streams)
    )


def throughput(streams: Sequence[Stream]) -> dict[str, float]:
    """Rates in tokens a second."""
    return {"decode": decode_rate(streams), "with prefill": total_rate(streams)}


def first_tokens(streams: Sequence[Stream]) -> dict[str, float]:
    """Seconds from arrival to the first token, of the probes."""
    waits = [s.tokens[0] - s.at for s in streams if s.probe]
    return {"median": median(waits), "worst": max(waits)}


def stalls(streams: Sequence[Stream]) -> dict[str, float]:
    """Seconds between a stream's tokens, of those that are not probes; and the probes' time to first token."""
    running = [s for s in streams if not s.probe]
    begin = max(s.tokens[0] for s in running)
    gaps = [b - a for s in running for a, b in zip(s.tokens, s.tokens[1:], strict=False) if a >= begin]
    waits = [s.tokens[0] - s.at for s in streams if s.probe]
    return {
        "worst": max(gaps),
        "p99": quantile(gaps, 0.99),
        "median": median(gaps),
        "long prompt's first token": median(waits),
    }


def completion(streams: Sequence[Stream]) -> dict[str, float]:
    """Seconds from the first arrival until everything is there."""
    return {"all done": max(s.tokens[-1] for s in streams) - min(s.at for s in streams)}


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some rounds with their extremes."""

    median: float
    low: float
    high: float
    rounds: int


def spread(values: Sequence[float]) -> Spread:
    return Spread(median(values), min(values), max(values), len(values))


def paired_ratio(ours: Sequence[float], theirs: Sequence[float], higher_is_better: bool) -> Spread:
    """How many times better ours is, round by round; rounds are interleaved, so that a slow minute hits both."""
    pairs = list(zip(ours, theirs, strict=True))
    return spread([a / b if higher_is_better else b / a for a, b in pairs])

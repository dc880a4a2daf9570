"""What the benchmarks ask for and what comes back; standard library only, as peers have environments of their own."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Kind = Literal["nudge", "pin", "scale", "condition"]
KINDS: tuple[Kind, ...] = ("nudge", "pin", "scale", "condition")
EDITS_PER_ROW = 5
FEATURES = 8192
"""Features of the benchmark's SAE: edits name features below it."""
LOWEST_TOKEN, HIGHEST_TOKEN = 100, 40_000
"""Ids that prompts are drawn from: below them lie special tokens, and every peer's vocabulary reaches above."""


@dataclass(frozen=True, slots=True)
class EditSpec:
    """One edit of a row, in the SAE's raw units. A `condition` nudges where the next feature is active."""

    kind: Kind
    feature: int
    value: float


@dataclass(frozen=True, slots=True)
class Request:
    """One generation. `at` is when it arrives, in seconds after the run's start; `probe` marks those that are measured
    where a run has others only as load."""

    prompt: tuple[int, ...]
    new_tokens: int
    at: float = 0.0
    edits: tuple[EditSpec, ...] = ()
    probe: bool = False
    sampled: bool = False


@dataclass(frozen=True, slots=True)
class Stream:
    """When a request arrived and when each of its tokens was there, in seconds after the run's start."""

    at: float
    tokens: tuple[float, ...]
    probe: bool = False


def request_to_json(request: Request) -> dict[str, Any]:
    return asdict(request)


def request_from_json(value: dict[str, Any]) -> Request:
    edits = tuple(EditSpec(**edit) for edit in value["edits"])
    return Request(**{**value, "prompt": tuple(value["prompt"]), "edits": edits})


def stream_from_json(value: dict[str, Any]) -> Stream:
    return Stream(value["at"], tuple(value["tokens"]), value["probe"])


def prompts(seed: str, count: int, length: int) -> list[tuple[int, ...]]:
    """Prompts that no earlier run has seen, so that no prefix cache helps where it is not what is measured."""
    draw = random.Random(seed)
    return [tuple(draw.randrange(LOWEST_TOKEN, HIGHEST_TOKEN) for _ in range(length)) for _ in range(count)]


def edits_for(row: int, kinds: Sequence[Kind] = KINDS, count: int = EDITS_PER_ROW) -> tuple[EditSpec, ...]:
    """The edits of a row: kinds in turn, features and values of its own."""
    draw = random.Random(f"edits {row}")
    features = draw.sample(range(FEATURES - 1), count)
    return tuple(
        EditSpec(kinds[(row + n) % len(kinds)], feature, round(draw.uniform(0.5, 2.0), 3))
        for n, feature in enumerate(features)
    )


def steered(
    requests: Sequence[Request], kinds: Sequence[Kind] = KINDS, configurations: int = 0
) -> list[Request]:
    """The same requests with five edits each; at most so many different configurations (0: one for each row)."""
    return [
        replace(request, edits=edits_for(row % configurations if configurations else row, kinds))
        for row, request in enumerate(requests)
    ]

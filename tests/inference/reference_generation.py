"""A whole generation as docs/steering.md states it: the sequence runs again from its start for every token."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp

import numpy as np
import torch
from torch import Tensor

from services.inference.sampling import Sampling, uniform
from services.steering.edits import Abort, Notify, Steering
from tests.inference.reference import Forward, Path, all_scopes, known_after, run
from tests.inference.tiny import Tiny

Action = Steering | Abort | Notify


@dataclass
class Generation:
    """What a caller is told."""

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    events: list[tuple[str, int, Path]] = field(default_factory=list)
    aborted: str | None = None
    forward: Forward = field(default_factory=Forward)


def draw(logits: Tensor, sampling: Sampling, position: int) -> int:
    """Inverse of the cumulative distribution at the uniform number of (seed, position)."""
    if sampling.temperature == 0 or sampling.top_k == 1:
        return int(logits.argmax())
    numbers = logits.double().numpy()
    cut = sampling.top_k > 0 or sampling.top_p < 1
    order = np.argsort(-numbers, kind="stable") if cut else np.arange(len(numbers))
    if sampling.top_k:
        order = order[: sampling.top_k]
    weights = [exp((numbers[n] - numbers.max()) / sampling.temperature) for n in order]
    if sampling.top_p < 1:
        kept, held = [], 0.0
        for weight in weights:
            if held >= sampling.top_p * sum(weights):
                break
            kept.append(weight)
            held += weight
        weights = kept
    target, held = uniform(sampling.seed, position) * sum(weights), 0.0
    for token, weight in zip(order, weights, strict=False):
        held += weight
        if held > target:
            return int(token)
    raise AssertionError("a uniform number below 1 falls into the distribution")


def generate(tiny: Tiny, prompt: tuple[int, ...], steering: Steering, sampling: Sampling) -> Generation:
    """A whole generation; no token ends it."""
    result = Generation()
    tokens = list(prompt)
    while True:
        result.forward = run(tiny, steering, tokens, len(prompt))
        told = events_of(tiny, steering, result.forward)
        aborts = [(position, action) for action, position, _ in told if isinstance(action, Abort)]
        if aborts:
            position, abort = aborts[0]
            result.aborted = abort.message
            result.events = [named(event) for event in told if event[1] <= position]
            if position >= len(prompt):  # the token that matched is not emitted
                del result.tokens[-1], result.logprobs[-1]
            return result
        result.events = [named(event) for event in told]
        if len(tokens) - len(prompt) == sampling.max_tokens:
            return result
        last = result.forward.logits[-1]
        token = draw(last, sampling, len(tokens))
        result.logprobs.append(float(torch.log_softmax(last, -1)[token]))
        result.tokens.append(token)
        tokens.append(token)


def events_of(tiny: Tiny, steering: Steering, forward: Forward) -> list[tuple[Action, int, Path]]:
    """What the caller is told: a Notify at each of its tokens, or at the first if it is latched; a scope of edits at
    the first token of each run of neighbouring tokens; an Abort at its token. By position, and at one position in the
    order in which they are known: by block, then as the request lists them."""
    told: list[tuple[int, int, Path, Action]] = []
    for path, scope in all_scopes(steering):
        acted = forward.acted.get(path, {})
        on = [position for position in sorted(acted) if acted[position]]
        match scope.action:
            case Notify():
                on = on[:1] if scope.latched else on
            case Steering():
                on = [position for position in on if not acted.get(position - 1, False)]
        told += [(position, known_after(tiny, steering, path), path, scope.action) for position in on]
    return [(action, position, path) for position, _, path, action in sorted(told, key=lambda t: t[:3])]


def named(event: tuple[Action, int, Path]) -> tuple[str, int, Path]:
    """The same with the name that a Notify gives it, or none."""
    action, position, path = event
    return (action.event if isinstance(action, Notify) else "", position, path)

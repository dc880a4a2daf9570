"""Random steerings on the tiny model, rich enough to meet every rule, mild enough to leave the model talking."""

from __future__ import annotations

import random

from services.inference.sampling import Sampling
from services.steering.conditions import AllOf, AnyOf, Comparison, Condition, FeatureKey, Not, Operator
from services.steering.edits import Abort, Edit, Notify, Operation, Positions, Scope, Steering, Unit
from tests.inference.driver import Request

EARLY, LATE = ("relu", "topk"), ("gated", "jump")
"""SAEs at block 1 and at block 2."""
FEATURES = 40


def some_request(number: int, longest_prompt: int = 40, tokens: int = 10) -> Request:
    """The request of a number, always the same."""
    rng = random.Random(number)
    prompt = tuple(rng.randrange(250) for _ in range(rng.randint(2, longest_prompt)))
    sampling = Sampling(
        temperature=rng.choice([0.0, 0.7, 1.0, 1.3]),
        top_p=rng.choice([1.0, 1.0, 0.9]),
        top_k=rng.choice([0, 0, 40]),
        max_tokens=tokens,
        seed=number,
        logprobs=True,
    )
    return Request(prompt, some_steering(rng), sampling, report=rng.random() < 0.5)


def some_steering(rng: random.Random) -> Steering:
    """A steering of any kind."""
    gated = rng.random() < 0.2
    raw = rng.random() < 0.25
    return Steering(
        edits=edits(rng, (*EARLY, *LATE), raw, rng.randint(0, 5)),
        scopes=tuple(scope(rng, 0, (*EARLY, *LATE), raw) for _ in range(rng.choice([0, 0, 1, 2, 3]))),
        unit=Unit.RAW if raw else Unit.NATURAL,
        positions=rng.choice([Positions.ALL, Positions.ALL, Positions.PROMPT, Positions.GENERATED]),
        max_delta=rng.choice([1.0, 0.5, 0.2, 3.0]),
        min_nudge_entropy=rng.choice([None, 2.6]) if gated else None,
        max_nudge_entropy=rng.choice([3.1, 3.6]) if gated else None,
        nonzero_strength_threshold=rng.choice([0.0, 0.3]),
    )


def edits(rng: random.Random, saes: tuple[str, ...], raw: bool, count: int) -> tuple[Edit, ...]:
    """Edits on different features of some SAEs."""
    chosen: dict[FeatureKey, Edit] = {}
    for _ in range(count):
        feature = FeatureKey(rng.choice(saes), rng.randrange(FEATURES))
        operation = rng.choice(list(Operation))
        value = rng.uniform(-0.8, 1.2) if operation is Operation.NUDGE else rng.uniform(0, 2.5)
        if raw and operation is not Operation.SCALE:
            value *= 4
        chosen[feature] = Edit(feature, operation, value)
    return tuple(chosen.values())


def scope(rng: random.Random, depth: int, saes: tuple[str, ...], raw: bool) -> Scope:
    """A scope whose edits are at or after the block that its condition reads."""
    read = EARLY if rng.random() < 0.5 and saes != LATE else saes
    when = condition(rng, read, raw, 0)
    below = saes if read == EARLY and saes != LATE else LATE
    kind = rng.random()
    if kind < 0.2:
        action: Steering | Abort | Notify = Notify(f"event {rng.randrange(9)}")
    elif kind < 0.3:
        rare = AllOf((when, comparison(rng, read, raw, high=True), comparison(rng, read, raw, high=True)))
        return Scope(rare, Abort("enough"), rng.random() < 0.3)
    else:
        inner = tuple(
            scope(rng, depth + 1, below, raw) for _ in range(rng.choice([0, 1]) if depth < 3 else 0)
        )
        action = Steering(edits(rng, below, raw, rng.randint(0 if inner else 1, 3)), inner)
    return Scope(when, action, rng.random() < 0.3)


def condition(rng: random.Random, saes: tuple[str, ...], raw: bool, depth: int) -> Condition:
    """Any condition."""
    kind = rng.random()
    if depth > 2 or kind < 0.5:
        return comparison(rng, saes, raw)
    if kind < 0.65:
        return Not(condition(rng, saes, raw, depth + 1))
    group = tuple(condition(rng, saes, raw, depth + 1) for _ in range(rng.randint(1, 3)))
    return AllOf(group) if kind < 0.8 else AnyOf(group)


def comparison(rng: random.Random, saes: tuple[str, ...], raw: bool, high: bool = False) -> Comparison:
    """Any comparison."""

    def some() -> tuple[FeatureKey, ...]:
        return tuple(FeatureKey(rng.choice(saes), rng.randrange(FEATURES)) for _ in range(rng.randint(1, 3)))

    if high:
        return Comparison(some(), Operator.GREATER, rng.uniform(0.2, 0.5) * (4 if raw else 1))
    right = some() if rng.random() < 0.3 else rng.choice([0.0, rng.uniform(0, 0.6) * (4 if raw else 1)])
    return Comparison(some(), rng.choice(list(Operator)), right)

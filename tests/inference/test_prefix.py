"""The prefix cache: what is reused gives the very same bits, and it keeps to its budget."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from services.inference.engine import Engine, EngineLimits
from services.inference.hooks import SteeredSequence
from services.inference.kv import GRAIN
from services.inference.prefix import PrefixCache
from services.inference.sampling import Sampling
from services.inference.sequence import Event, Read, Sequence
from services.steering.conditions import Comparison, FeatureKey, Operator
from services.steering.edits import Edit, Notify, Operation, Positions, Scope, Steering
from tests.inference.driver import Answer, Request, answer, engine_of, finish, submit
from tests.inference.tiny import tiny

PROMPT = tuple((7 * n * n + 3 * n) % 250 for n in range(200))
"""Twelve full grains and a bit."""
SAMPLING = Sampling(temperature=0.8, max_tokens=8, logprobs=True, seed=4)
NOTHING = Steering()
EDITS = [
    Steering((Edit(FeatureKey("relu", 4), Operation.NUDGE, 0.7),)),
    Steering(
        (Edit(FeatureKey("topk", 5), Operation.PIN, 1.5), Edit(FeatureKey("jump", 2), Operation.SCALE, 3.0))
    ),
    Steering((Edit(FeatureKey("gated", 7), Operation.NUDGE, -0.6),)),
    Steering((Edit(FeatureKey("relu", 4), Operation.NUDGE, 1.2),), positions=Positions.GENERATED),
]


def ask(
    engine: Engine, steering: Steering = NOTHING, prompt: tuple[int, ...] = PROMPT, reuse: bool = True
) -> Answer:
    return answer(engine, Request(prompt, steering, SAMPLING, reuse=reuse), tiny().saes)


def bits(given: Answer) -> tuple[list[int], list[float | None]]:
    return given.tokens, given.logprobs


def test_the_whole_prefix_reused_gives_the_bits_of_a_fresh_run() -> None:
    for steering in (Steering(), *EDITS):
        fresh = ask(engine_of(tiny()), steering)
        engine = engine_of(tiny())
        first, second = ask(engine, steering), ask(engine, steering)
        assert (first.finished.cached_tokens, second.finished.cached_tokens) == (0, 192)
        assert second.sequence.cached_start == 192
        assert bits(first) == bits(second) == bits(fresh)


def test_different_edits_share_the_lower_half_and_keep_their_bits() -> None:
    engine = engine_of(tiny())
    ask(engine)
    for steering in EDITS[:3]:
        given = ask(engine, steering)
        assert (given.sequence.cached_start, given.finished.cached_tokens) == (0, 192)
        assert bits(given) == bits(ask(engine_of(tiny()), steering))


def test_a_steering_of_generated_tokens_shares_the_unsteered_prompt_whole() -> None:
    engine = engine_of(tiny())
    first = ask(engine, replace(EDITS[3], edits=EDITS[0].edits))
    second = ask(engine, EDITS[3])
    assert (first.sequence.cached_start, second.sequence.cached_start) == (0, 192)
    assert bits(second) == bits(ask(engine_of(tiny()), EDITS[3]))


def test_scopes_are_evaluated_at_every_prompt_token_though_its_lower_half_is_reused() -> None:
    seen = Comparison((FeatureKey("relu", 3),), Operator.GREATER, 0.0)
    steering = Steering(scopes=(Scope(seen, Notify("on")), Scope(seen, EDITS[0], latched=True)))
    fresh = ask(engine_of(tiny()), steering)
    engine = engine_of(tiny())
    ask(engine)
    again = ask(engine, steering)
    assert again.finished.cached_tokens == 192
    assert (bits(again), again.triggered) == (bits(fresh), fresh.triggered)
    assert len([p for _, p, _ in again.triggered if p < 192]) > 10


@pytest.mark.parametrize("shared", [15, 16, 64, 90, 130, 191])
def test_a_prefix_in_common_is_reused_up_to_its_last_whole_grain(shared: int) -> None:
    other = (*PROMPT[:shared], *[(token + 1) % 250 for token in PROMPT[shared:]])
    engine = engine_of(tiny())
    ask(engine)
    given = ask(engine, prompt=other)
    assert given.finished.cached_tokens == shared // GRAIN * GRAIN
    assert bits(given) == bits(ask(engine_of(tiny()), prompt=other))


def test_the_last_prompt_token_is_always_computed() -> None:
    engine = engine_of(tiny())
    exact = PROMPT[:128]
    fresh = ask(engine, prompt=exact)
    again = ask(engine, prompt=exact)
    assert again.finished.cached_tokens == 112
    assert bits(again) == bits(fresh)


def test_the_cache_keeps_to_its_budget() -> None:
    engine = engine_of(tiny())
    ask(engine)
    grain = engine.prefix.bytes // 12  # the lower and the upper half of 16 tokens
    for budget in (0, grain // 2, grain, 5 * grain, 100 * grain):
        small = engine_of(tiny(), EngineLimits(prefix_bytes=budget))
        for start in range(0, 40, 10):
            prompt = PROMPT[start : start + 150]
            assert bits(ask(small, prompt=prompt)) == bits(ask(engine_of(tiny()), prompt=prompt))
            assert small.prefix.bytes <= budget


def test_what_was_used_longest_ago_is_dropped_first() -> None:
    engine = engine_of(tiny())
    one, two, three = (tuple((token + n) % 250 for token in PROMPT) for n in range(3))
    ask(engine, prompt=one)
    small = engine_of(tiny(), EngineLimits(prefix_bytes=2 * engine.prefix.bytes))
    for prompt in (one, two, one, three):
        ask(small, prompt=prompt)
    cached = [ask(small, prompt=prompt).finished.cached_tokens for prompt in (one, three)]
    assert cached == [192, 192]
    assert ask(small, prompt=two).finished.cached_tokens == 0


def test_of_one_prompt_the_last_grain_is_dropped_first() -> None:
    """A grain is worth nothing without those before it."""
    engine = engine_of(tiny())
    ask(engine)
    grain = engine.prefix.bytes // 12
    small = engine_of(tiny(), EngineLimits(prefix_bytes=16 * grain))
    ask(small)
    ask(small)
    ask(small, prompt=tuple((token + 1) % 250 for token in PROMPT[:130]))
    assert ask(small).finished.cached_tokens == 128


def test_a_grains_hash_depends_on_all_tokens_before_it() -> None:
    cache = PrefixCache(1, 1000)
    one, two = cache.chain(PROMPT), cache.chain((99, *PROMPT[1:]))
    assert len(one) == 12
    assert not set(one) & set(two)
    assert cache.chain(PROMPT[:130]) == one[:8]


def read(
    engine: Engine, steering: Steering, layers: tuple[int, ...], rows: tuple[int, ...] = ()
) -> tuple[dict[int, Tensor], Tensor | None]:
    """What an inspection sees: edited streams after some blocks at tokens that are no sinks, and logits."""
    kept: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    steered = answer_free(steering)
    for layer in layers:
        steered.captures[layer] = lambda h, live, layer=layer: kept[layer].append(h[live].clone())  # type: ignore[misc]
    events: list[Event] = []
    engine.submit(
        Sequence(
            list(PROMPT),
            len(PROMPT),
            steered,
            events.extend,
            fingerprint=None,
            last_layer=None if rows else max(layers),
            logit_rows=rows,
        )
    )
    finish(engine)
    (done,) = [e for e in events if isinstance(e, Read)]
    return {layer: torch.cat(parts) for layer, parts in kept.items()}, done.logits


def answer_free(steering: Steering) -> SteeredSequence:
    from services.inference.compiled import compile_steering

    return SteeredSequence(None if steering.empty else compile_steering(steering, tiny().saes))


@pytest.mark.parametrize("steering", [Steering(), EDITS[1]], ids=["plain", "steered"])
def test_a_read_sees_the_same_streams_fresh_and_after_the_lower_half_is_reused(steering: Steering) -> None:
    engine = engine_of(tiny())
    fresh, logits = read(engine, steering, (1, 2), rows=(len(PROMPT) - 1,))
    assert {layer: len(rows) for layer, rows in fresh.items()} == {1: 199, 2: 199}
    assert logits is not None
    again, same_logits = read(engine, steering, (1, 2), rows=(len(PROMPT) - 1,))
    assert engine.prefix.hits == 12
    assert torch.equal(logits, same_logits)  # type: ignore[arg-type]
    short, none = read(engine, steering, (1,))
    assert none is None
    assert torch.equal(short[1], fresh[1])
    assert all(torch.equal(again[layer], fresh[layer]) for layer in fresh)


def test_a_read_that_stops_early_leaves_a_prefix_that_others_may_use() -> None:
    engine = engine_of(tiny())
    read(engine, EDITS[0], (1,))
    given = ask(engine, EDITS[1])
    assert given.finished.cached_tokens == 192
    assert bits(given) == bits(ask(engine_of(tiny()), EDITS[1]))


def test_logits_of_any_prompt_token_can_be_read() -> None:
    engine = engine_of(tiny())
    _, some = read(engine, EDITS[0], (1,), rows=(3, 70, 199))
    _, last = read(engine, EDITS[0], (1,), rows=(199,))
    assert some is not None
    assert last is not None
    assert some.shape == (3, 300)
    assert torch.equal(some[2], last[0])


@pytest.mark.parametrize("steering", [Steering(), EDITS[1]], ids=["plain", "steered"])
def test_logits_in_the_midst_of_a_prompt_are_the_same_after_its_beginning_is_reused(
    steering: Steering,
) -> None:
    engine = engine_of(tiny())
    rows = tuple(range(50, 199))
    _, fresh = read(engine, steering, (), rows)
    _, again = read(engine, steering, (), rows)
    assert engine.prefix.hits == 12
    assert torch.equal(fresh, again)  # type: ignore[arg-type]


def test_of_prompts_that_begin_alike_one_computes_the_beginning_and_the_others_wait_for_it() -> None:
    engine = engine_of(tiny())
    prompts = [(*PROMPT[:100], *[(token + n) % 250 for token in PROMPT[100:130]]) for n in range(4)]
    asked = [submit(engine, Request(prompt, EDITS[0], SAMPLING), tiny().saes) for prompt in prompts]
    finish(engine)
    assert [each.sequence.cached_lower for each in asked] == [0, 96, 96, 96]
    for prompt, each in zip(prompts, asked, strict=True):
        assert bits(each) == bits(ask(engine_of(tiny()), EDITS[0], prompt))

"""Edits: what each adds to the residual stream, where, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from services.inference.compiled import CompiledSteering, compile_steering, unit_constants
from services.inference.gates import GateState
from services.inference.hooks import Segment, SteeredSequence, SteeringHook
from services.inference.sae.base import SINK_NORMS, Sae
from services.inference.sampling import Sampling
from services.steering.conditions import Comparison, FeatureKey, Operator
from services.steering.edits import Edit, Operation, Positions, Scope, Steering, Unit
from tests.inference.driver import Answer, Request, answer, engine_of
from tests.inference.reference import encode
from tests.inference.tiny import LOUD, Tiny, tiny

WIDE = 10.0
"""A max_delta that clips nothing here."""
PROMPT = (11, 40, 7, 99, 180, 3, 64, 201)


@pytest.fixture(scope="module")
def model() -> Tiny:
    return tiny()


def stream(tokens: int = 6, size: float = 1.0) -> Tensor:
    """A residual stream at block 1, of usual norms."""
    torch.manual_seed(5)
    h = torch.randn(tokens, 32)
    return h / h.norm(dim=-1, keepdim=True) * tiny().medians[1] * size


def compiled(model: Tiny, *edits: Edit, **settings: object) -> CompiledSteering:
    steering = Steering(edits=edits, **{"max_delta": WIDE, **settings})  # type: ignore[arg-type]
    return compile_steering(steering, model.saes)


def edited(
    model: Tiny, h: Tensor, steering: CompiledSteering, position: int = 5, generated: bool = False
) -> Tensor:
    """The stream after block 1 of one sequence, from a position on."""
    gates = GateState(steering) if steering.scopes else None
    segment = Segment(SteeredSequence(steering, gates), 0, len(h), position, generated)
    h = h.clone()
    SteeringHook([segment], model.medians)(1, h)
    return h


def nudge(sae: str, index: int, value: float) -> Edit:
    return Edit(FeatureKey(sae, index), Operation.NUDGE, value)


def pin(sae: str, index: int, value: float) -> Edit:
    return Edit(FeatureKey(sae, index), Operation.PIN, value)


def scale(sae: str, index: int, value: float) -> Edit:
    return Edit(FeatureKey(sae, index), Operation.SCALE, value)


def test_a_nudge_of_one_is_c_medians_along_the_unit_decoder_direction(model: Tiny) -> None:
    h, sae = stream(), model.saes["relu"]
    d = sae.weights.W_dec[4]
    change = edited(model, h, compiled(model, nudge("relu", 4, 1.0))) - h
    expected = 0.3 * model.medians[1] * d / d.norm()
    torch.testing.assert_close(change, expected.expand_as(h), atol=1e-5, rtol=1e-5)


def test_a_nudge_is_made_whether_or_not_the_feature_fires(model: Tiny) -> None:
    h = stream(40)
    fires = torch.stack([encode(model.saes["relu"], row)[4] for row in h]) > 0
    change = (edited(model, h, compiled(model, nudge("relu", 4, 0.5))) - h).norm(dim=-1)
    assert 0 < int(fires.sum()) < 40
    torch.testing.assert_close(change, change[:1].expand(40), rtol=1e-4, atol=0)


@pytest.mark.parametrize("sae", ["relu", "topk"])
def test_a_pin_adds_what_the_activation_lacks(model: Tiny, sae: str) -> None:
    h, one = stream(20), model.saes[sae]
    change = edited(model, h, compiled(model, pin(sae, 9, 1.5))) - h
    for row, delta in zip(h, change, strict=True):
        lacks = 1.5 * one.scales[9] - encode(one, row)[9]
        torch.testing.assert_close(delta, lacks * one.weights.W_dec[9], atol=2e-5, rtol=1e-4)


def test_pin_zero_ablates_what_the_decoder_row_carries(model: Tiny) -> None:
    h, one = stream(20), model.saes["relu"]
    change = edited(model, h, compiled(model, pin("relu", 9, 0.0))) - h
    for row, delta in zip(h, change, strict=True):
        torch.testing.assert_close(delta, -encode(one, row)[9] * one.weights.W_dec[9], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("sae", ["relu", "topk"])
def test_a_scale_adds_a_multiple_of_the_activation(model: Tiny, sae: str) -> None:
    h, one = stream(20), model.saes[sae]
    change = edited(model, h, compiled(model, scale(sae, 9, 2.5))) - h
    for row, delta in zip(h, change, strict=True):
        torch.testing.assert_close(
            delta, 1.5 * encode(one, row)[9] * one.weights.W_dec[9], atol=2e-5, rtol=1e-4
        )


def test_raw_values_are_the_saes_own_numbers(model: Tiny) -> None:
    h, one = stream(20), model.saes["relu"]
    d = one.weights.W_dec[9]
    pushed = edited(model, h, compiled(model, nudge("relu", 9, 3.0), unit=Unit.RAW)) - h
    torch.testing.assert_close(pushed, (3 * d).expand_as(h), atol=1e-5, rtol=1e-5)
    pinned = edited(model, h, compiled(model, pin("relu", 9, 3.0), unit=Unit.RAW)) - h
    for row, delta in zip(h, pinned, strict=True):
        torch.testing.assert_close(delta, (3 - encode(one, row)[9]) * d, atol=2e-5, rtol=1e-4)


def test_without_scales_and_calibration_an_activation_of_one_is_raw_and_c_is_0_6(model: Tiny) -> None:
    sae = model.saes["relu"]
    bare = Sae("bare", sae.weights, sae.hook_point, 1, sae.weights_digest, model.medians[1])
    strength, activation = unit_constants(bare, 3)
    assert activation == 1.0
    assert strength * float(sae.weights.W_dec[3].norm()) == pytest.approx(0.6 * model.medians[1])


def test_what_the_sae_cannot_represent_stays(model: Tiny) -> None:
    """The change lies in the span of the named decoder rows: the rest of the stream is as it was."""
    h, one = stream(20), model.saes["relu"]
    change = (
        edited(model, h, compiled(model, nudge("relu", 1, 0.4), pin("relu", 2, 1.0), scale("relu", 3, 2.0)))
        - h
    )
    rows = one.weights.W_dec[[1, 2, 3]]
    inside = torch.linalg.lstsq(rows.T, change.T).solution
    torch.testing.assert_close((rows.T @ inside).T, change, atol=2e-5, rtol=1e-4)


def test_edits_at_one_hook_point_read_the_same_unedited_stream(model: Tiny) -> None:
    """Changes of edits made alone sum to the change of all of them, also over two SAEs, in any order."""
    h = stream(20)
    edits = [
        nudge("relu", 1, 0.4),
        pin("relu", 2, 1.0),
        scale("relu", 3, 2.0),
        pin("topk", 2, 1.0),
        scale("topk", 5, 3.0),
    ]
    alone = sum(edited(model, h, compiled(model, edit)) - h for edit in edits)
    torch.testing.assert_close(edited(model, h, compiled(model, *edits)) - h, alone, atol=5e-5, rtol=1e-4)
    torch.testing.assert_close(
        edited(model, h, compiled(model, *reversed(edits))) - h, alone, atol=5e-5, rtol=1e-4
    )


def test_nudges_on_one_feature_add_up(model: Tiny) -> None:
    h = stream()
    twice = edited(model, h, compiled(model, nudge("relu", 4, 0.5), nudge("relu", 4, 0.25)))
    torch.testing.assert_close(
        twice, edited(model, h, compiled(model, nudge("relu", 4, 0.75))), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("edit", [nudge("relu", 4, 0.0), scale("relu", 4, 1.0), scale("topk", 4, 1.0)])
def test_a_change_of_nothing_keeps_every_bit(model: Tiny, edit: Edit) -> None:
    h = stream(20)
    assert torch.equal(edited(model, h, compiled(model, edit)), h)


def test_a_pin_of_a_silent_feature_to_zero_keeps_every_bit(model: Tiny) -> None:
    h = stream(60)
    silent = torch.stack([encode(model.saes["relu"], row)[4] for row in h]) == 0
    after = edited(model, h, compiled(model, pin("relu", 4, 0.0)))
    assert 0 < int(silent.sum()) < 60
    assert torch.equal(after[silent], h[silent])
    assert not torch.equal(after, h)


@pytest.mark.parametrize("limit", [0.2, 1.0])
def test_max_delta_scales_the_whole_change_down(model: Tiny, limit: float) -> None:
    h = stream(40)
    edits = (nudge("relu", 4, 4.0), pin("relu", 9, 2.0))
    free = edited(model, h, compiled(model, *edits)) - h
    held = edited(model, h, compiled(model, *edits, max_delta=limit)) - h
    most = limit * model.medians[1]
    assert bool((free.norm(dim=-1) > most).any())
    for one, two in zip(free, held, strict=True):
        torch.testing.assert_close(two, one * min(1.0, most / float(one.norm())), atol=2e-5, rtol=1e-4)


def test_sinks_are_never_edited(model: Tiny) -> None:
    h = stream(6)
    h[2] *= SINK_NORMS * 1.01
    h[4] *= SINK_NORMS * 0.99
    steering = compiled(model, nudge("relu", 4, 0.5), pin("relu", 9, 2.0), max_delta=WIDE)
    after = edited(model, h, steering, position=0)
    assert [torch.equal(a, b) for a, b in zip(after, h, strict=True)] == [
        True,
        False,
        True,
        False,
        False,
        False,
    ]
    later = edited(model, h, steering, position=1)
    assert [torch.equal(a, b) for a, b in zip(later, h, strict=True)] == [
        False,
        False,
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("positions", "prompt", "generated"),
    [(Positions.ALL, True, True), (Positions.PROMPT, True, False), (Positions.GENERATED, False, True)],
)
def test_positions_choose_the_tokens(
    model: Tiny, positions: Positions, prompt: bool, generated: bool
) -> None:
    h = stream(3)
    steering = compiled(model, nudge("relu", 4, 0.5), positions=positions)
    assert torch.equal(edited(model, h, steering, generated=False), h) is not prompt
    assert torch.equal(edited(model, h, steering, generated=True), h) is not generated


def logits_after(change: Callable[[Request], Request]) -> Answer:
    return answer(engine_of(tiny()), change(Request(PROMPT, reuse=False)), tiny().saes)


def test_the_last_prompt_token_counts_as_prompt() -> None:
    """A steering of generated tokens leaves the first drawn token's logits alone and changes the next one's."""
    edits = (nudge("relu", 4, 2.0),)
    plain = logits_after(lambda r: r)
    generated = logits_after(lambda r: replace(r, steering=Steering(edits, positions=Positions.GENERATED)))
    prompt = logits_after(lambda r: replace(r, steering=Steering(edits, positions=Positions.PROMPT)))
    assert generated.logprobs[0] == plain.logprobs[0]
    assert generated.logprobs[1] != plain.logprobs[1]
    assert prompt.logprobs[0] != plain.logprobs[0]


def test_no_edits_and_zero_nudges_give_bitwise_the_same_logits() -> None:
    plain = logits_after(lambda r: r)
    zero = Steering((nudge("relu", 4, 0.0), nudge("gated", 2, 0.0), scale("topk", 2, 1.0)))
    nowhere = Comparison((FeatureKey("relu", 3),), Operator.LESS, 0.0)
    never = Steering(scopes=(Scope(nowhere, Steering((nudge("relu", 4, 5.0),))),))
    for steering in (zero, never):
        changed = logits_after(lambda r, s=steering: replace(r, steering=s))  # type: ignore[misc]
        assert (changed.tokens, changed.logprobs) == (plain.tokens, plain.logprobs)


def test_a_loud_token_is_left_alone_in_a_whole_pass() -> None:
    """With only sinks in the prompt, a steering of the prompt changes nothing."""
    request = Request((5, LOUD), sampling=Sampling(temperature=0, max_tokens=4, logprobs=True))
    steered = replace(request, steering=Steering((nudge("relu", 4, 2.0),), positions=Positions.PROMPT))
    one, two = (answer(engine_of(tiny()), r, tiny().saes) for r in (request, steered))
    assert one.logprobs == two.logprobs
    quiet = replace(steered, prompt=(5, 6))
    assert answer(engine_of(tiny()), quiet, tiny().saes).logprobs != two.logprobs


def test_an_infinity_of_one_sequence_reaches_no_other(model: Tiny) -> None:
    """A scoped nudge that reads nothing at its block stands beside another's reads."""
    early = Comparison((FeatureKey("relu", 1),), Operator.GREATER_OR_EQUAL, 0.0)
    scoped = compile_steering(
        Steering(scopes=(Scope(early, Steering((nudge("gated", 3, 0.4),))),)), model.saes
    )
    broken = compiled(model, pin("gated", 2, 1.0))
    gates = GateState(scoped)
    h = stream(4)
    h[2:] = model.saes["gated"].weights.W_enc[2].sign() * 3e38  # its activation overflows
    hook = SteeringHook(
        [
            Segment(SteeredSequence(scoped, gates), 0, 2, 5, False),
            Segment(SteeredSequence(broken), 2, 2, 5, False),
        ],
        model.medians,
    )
    hook(1, h)
    before = h.clone()
    hook(2, h)
    assert bool(h[:2].isfinite().all())
    assert not torch.equal(h[:2], before[:2])

"""What is read from a prompt is the same on both engines: the edited stream, logits, how likely a text is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from services.inference.sequence import Event, Failed, Read, Sequence
from services.steering.conditions import Comparison, FeatureKey, Operator
from services.steering.edits import Edit, Operation, Scope, Steering
from tests.inference import driver, reference
from tests.inference.driver import Request, sequence_of
from tests.inference.tiny import LOUD
from tests.inference.vllm import served
from tests.inference.vllm.served import wide

pytestmark = pytest.mark.platform
PROMPT = tuple((7 * n * n + 3 * n) % 250 for n in range(150))
STEERED = Steering(
    (Edit(FeatureKey("relu", 3), Operation.NUDGE, 0.8), Edit(FeatureKey("gated", 5), Operation.PIN, 1.2)),
    (Scope(Comparison((FeatureKey("topk", 1),), Operator.GREATER, 0.0), Steering((
        Edit(FeatureKey("jump", 2), Operation.SCALE, 3.0),))),),
)  # fmt: skip
Reader = Callable[[Sequence], Read]


@pytest.fixture(params=["torch", "vllm"])
def read(request: pytest.FixtureRequest) -> Reader:
    """Has either engine read a prompt."""
    if request.param == "vllm":
        engine = request.getfixturevalue("vllm_engine")
        return lambda sequence: served.wait_for(engine, sequence)

    def on_torch(sequence: Sequence) -> Read:
        engine = driver.engine_of(wide())
        events: list[Event] = []
        sequence.sink = events.extend
        engine.submit(sequence)
        driver.finish(engine)
        return outcome(events)

    return on_torch


def outcome(events: list[Event]) -> Read:
    assert not any(isinstance(event, Failed) for event in events), events
    (done,) = [event for event in events if isinstance(event, Read)]
    return done


def reading(prompt: tuple[int, ...], steering: Steering, **settings: object) -> Sequence:
    sequence = sequence_of(Request(prompt, steering), wide().saes, lambda _: None)
    sequence.sampling = None
    for name, value in settings.items():
        setattr(sequence, name, value)
    return sequence


def reference_stream(prompt: tuple[int, ...], steering: Steering, layer: int) -> Tensor:
    """The stream after a block and its edits."""
    steerer, kept = reference.Steerer(wide(), steering, len(prompt), None), []

    def at_block(number: int, h: Tensor) -> None:
        steerer.at_block(number, h)
        if number == layer:
            kept.append(h.clone())

    reference.forward(wide(), list(prompt), at_block)
    return kept[0]


@pytest.mark.parametrize("steering", [Steering(), STEERED], ids=["plain", "steered"])
def test_a_capture_sees_the_edited_stream_and_which_tokens_are_sinks(
    read: Reader, steering: Steering
) -> None:
    prompt = (*PROMPT[:60], LOUD, *PROMPT[60:])
    sequence, parts, live = reading(prompt, steering), [], []
    for layer in (1, 2):
        sequence.steered.captures[layer] = lambda h, alive, at=layer: (
            parts.append((at, h.clone())),
            live.append((at, alive.clone())),
        )
    read(sequence)
    for layer in (1, 2):
        h = torch.cat([part for at, part in parts if at == layer])
        torch.testing.assert_close(h, reference_stream(prompt, steering, layer), atol=1e-3, rtol=1e-4)
        dead = (~torch.cat([part for at, part in live if at == layer])).nonzero()[:, 0].tolist()
        assert dead == [0, 60]


@pytest.mark.parametrize("steering", [Steering(), STEERED], ids=["plain", "steered"])
def test_logits_after_the_last_token_are_the_references(read: Reader, steering: Steering) -> None:
    done = read(reading(PROMPT, steering, logit_rows=(len(PROMPT) - 1,)))
    expected = reference.run(wide(), steering, list(PROMPT), len(PROMPT)).logits
    assert done.logits is not None
    assert expected is not None
    torch.testing.assert_close(done.logits[0], expected[-1], atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("steering", [Steering(), STEERED], ids=["plain", "steered"])
def test_a_text_is_as_likely_as_in_the_reference(read: Reader, steering: Steering) -> None:
    rows = tuple(range(9, len(PROMPT) - 1))
    done = read(reading(PROMPT, steering, logit_rows=rows, scores_next=True))
    logits = reference.run(wide(), steering, list(PROMPT), len(PROMPT)).logits
    assert done.logprobs is not None
    assert logits is not None
    logs = torch.log_softmax(logits.double(), -1)
    expected = torch.stack([logs[row, PROMPT[row + 1]] for row in rows])
    torch.testing.assert_close(done.logprobs.double(), expected, atol=2e-4, rtol=0)

"""How likely a text is: each token's log probability equals that of transformers' own model, steered token by token."""

from __future__ import annotations

import pytest
import torch

from services.inference.sequence import Event, Read
from services.steering.conditions import FeatureKey
from services.steering.edits import Edit, Operation, Steering
from tests.inference import reference
from tests.inference.driver import Request, engine_of, finish, sequence_of
from tests.inference.tiny import tiny

PROMPT = [int(n) for n in torch.randint(0, 250, (9,), generator=torch.Generator().manual_seed(1))]
TEXT = [int(n) for n in torch.randint(0, 250, (90,), generator=torch.Generator().manual_seed(2))]
NUDGED = Steering((Edit(FeatureKey("relu", 3), Operation.NUDGE, 0.8),))


def scored(steering: Steering, prompt: list[int], text: list[int]) -> torch.Tensor:
    """What the engine answers."""
    engine = engine_of(tiny())
    events: list[Event] = []
    sequence = sequence_of(Request((*prompt, *text), steering), tiny().saes, events.extend)
    sequence.sampling = None
    sequence.logit_rows = tuple(range(len(prompt) - 1, len(prompt) + len(text) - 1))
    sequence.scores_next = True
    engine.submit(sequence)
    finish(engine)
    (done,) = [event for event in events if isinstance(event, Read)]
    assert done.logits is None
    assert done.logprobs is not None
    return done.logprobs


@pytest.mark.parametrize("steering", [Steering(), NUDGED], ids=["plain", "steered"])
def test_each_token_has_the_log_probability_that_the_model_gives_it_after_all_before(
    steering: Steering,
) -> None:
    got = scored(steering, PROMPT, TEXT)
    tokens = PROMPT + TEXT
    logits = reference.run(tiny(), steering, tokens, len(tokens)).logits
    assert logits is not None
    wanted = torch.log_softmax(logits.double(), -1)
    expected = torch.stack([wanted[len(PROMPT) - 1 + n, token] for n, token in enumerate(TEXT)])
    torch.testing.assert_close(got.double(), expected, atol=2e-4, rtol=0)


def test_steering_changes_how_likely_a_text_is() -> None:
    plain, nudged = scored(Steering(), PROMPT, TEXT), scored(NUDGED, PROMPT, TEXT)
    assert (plain - nudged).abs().mean() > 0.01

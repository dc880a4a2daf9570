"""The proof at start-up that steering works: text that is silently unsteered is the worst fault of such a server."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from services.errors import HearthError
from services.inference.sae.base import Sae
from services.inference.sequence import Event, Failed, Read
from services.steering.conditions import FeatureKey
from services.steering.edits import Edit, Operation, Steering

if TYPE_CHECKING:
    from services.inference.host import ModelHost

PROMPT_TOKENS = 8
STRENGTH = 0.5
TIMEOUT_SECONDS = 120.0


class SteeringBroken(RuntimeError):
    """The engine does not steer, or steers where nothing was asked."""


def prove_steering(host: ModelHost) -> None:
    """For each SAE: a nudge changes the logits, a nudge of zero leaves every bit. Raises SteeringBroken."""
    ids = [(7 + 13 * n) % host.model.vocabulary_size for n in range(PROMPT_TOKENS)]
    plain = _logits(host, ids, Steering())
    if not bool(torch.isfinite(plain).all()):
        raise SteeringBroken("the model's logits are not finite in this type; try another dtype")
    for sae in host.saes.values():
        zero = _logits(host, ids, _nudge(sae, 0.0))
        if not torch.equal(zero, plain):
            raise SteeringBroken(f"SAE {sae.id}: a nudge of 0 changed the logits")
        if torch.equal(_logits(host, ids, _nudge(sae, STRENGTH)), plain):
            raise SteeringBroken(f"SAE {sae.id}: a nudge of {STRENGTH} changed no logit")


def _nudge(sae: Sae, value: float) -> Steering:
    strongest = int(sae.weights.W_dec.norm(dim=-1).argmax())
    return Steering(edits=(Edit(FeatureKey(sae.id, strongest), Operation.NUDGE, value),))


def _logits(host: ModelHost, ids: list[int], steering: Steering) -> Tensor:
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def sink(batch: list[Event]) -> None:
        for event in batch:
            events.put(event)

    host.engine.submit(host.reading(ids, steering, sink, owner="self-test", logit_rows=(len(ids) - 1,)))
    match events.get(timeout=TIMEOUT_SECONDS):
        case Read(logits) if logits is not None:
            return logits
        case Failed(error):
            raise error
        case other:
            raise HearthError(f"the self-test got {type(other).__name__}")

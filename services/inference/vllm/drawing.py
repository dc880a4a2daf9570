"""Drawing tokens in vLLM as every engine draws them: by seed and position, never from shared state.

vLLM lets a logits processor change the logits before it samples. This one draws the token itself and leaves vLLM's
greedy sampler no other choice. The log probabilities that vLLM reports are taken before, from the model's own logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality

from services.inference.sampling import choose
from services.inference.vllm.orders import Order, order_of


class Draw(LogitsProcessor):  # type: ignore[misc]  # Any where vLLM is not installed
    """Rows are numbered as vLLM's batch numbers its requests."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._rows: dict[int, tuple[Order, int, Sequence[int]]] = {}
        self.kept: dict[str, Float[Tensor, " vocabulary"]] = {}
        """The last logits of requests that want them."""

    def is_argmax_invariant(self) -> bool:
        """It changes which token is the likeliest."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follows requests as they enter, move and leave."""
        if batch_update is None:
            return
        for row in batch_update.removed:
            self._forget(row)
        for row, params, prompt, drawn in batch_update.added:
            self._forget(row)
            order = order_of(params.extra_args)
            if order is not None:
                self._rows[row] = (order, len(prompt or ()), drawn)
        for one, two, direction in batch_update.moved:
            first, second = self._rows.pop(one, None), self._rows.pop(two, None)
            if first is not None:
                self._rows[two] = first
            if second is not None and direction == MoveDirectionality.SWAP:
                self._rows[one] = second

    def _forget(self, row: int) -> None:
        gone = self._rows.pop(row, None)
        if gone is not None:
            self.kept.pop(gone[0].id, None)

    def apply(self, logits: Float[Tensor, "rows vocabulary"]) -> Float[Tensor, "rows vocabulary"]:
        """Leaves of each row that is drawn only the token drawn."""
        rows, samplings, positions = [], [], []
        for row, (order, prompt, drawn) in self._rows.items():
            if row >= len(logits):
                continue
            if order.keeps_logits:
                self.kept[order.id] = logits[row].float().clone()
            if order.sampling is not None:
                rows.append(row)
                samplings.append(order.sampling)
                positions.append(prompt + len(drawn))
        if rows:
            chosen = choose(logits[rows].float(), samplings, positions)
            logits[rows] = float("-inf")
            logits[rows, [choice.token for choice in chosen]] = 0.0
        return logits

"""An SAE with random weights, and the textbook way to steer with one: h becomes decode(edited encode(h)) + error."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bench.workload import FEATURES, EditSpec


def random_sae(d_model: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """W_enc, b_enc, W_dec, b_dec in float32; decoder rows have norm 1. Costs do not depend on what weights say."""
    draw = torch.Generator().manual_seed(7)
    decoder = torch.nn.functional.normalize(torch.randn(FEATURES, d_model, generator=draw), dim=-1)
    return (decoder.clone().to(device), torch.zeros(FEATURES, device=device), decoder.to(device),
            torch.zeros(d_model, device=device))  # fmt: skip


class Splice:
    """Edits a batch by the whole encoder and decoder, each row's features set by indexing."""

    def __init__(self, d_model: int, device: torch.device) -> None:
        self._encoder, self._bias, self._decoder, self._decoder_bias = random_sae(d_model, device)

    def begin(self, rows: Sequence[Sequence[EditSpec]]) -> None:
        """Takes each row's edits, the same number for all: nudges add, pins set, scales multiply."""
        device = self._bias.device
        self._features = torch.tensor([[e.feature for e in row] for row in rows], device=device)
        kinds = [[e.kind for e in row] for row in rows]
        values = torch.tensor([[e.value for e in row] for row in rows], device=device)
        scaled = torch.tensor([[k == "scale" for k in row] for row in kinds], device=device)
        pinned = torch.tensor([[k == "pin" for k in row] for row in kinds], device=device)
        self._factor = torch.where(scaled, values, torch.where(pinned, 0.0, 1.0))
        self._summand = torch.where(scaled, 0.0, values)

    def __call__(self, h: Tensor) -> Tensor:
        """The edited residual stream, for h [rows, tokens, d_model]."""
        x = h.float()
        f = torch.relu(torch.nn.functional.linear(x - self._decoder_bias, self._encoder, self._bias))
        error = x - (f @ self._decoder + self._decoder_bias)
        places = self._features[:, None].expand(-1, h.shape[1], -1)
        now = f.gather(-1, places)
        f = f.scatter(-1, places, now * self._factor[:, None] + self._summand[:, None])
        return (f @ self._decoder + self._decoder_bias + error).to(h.dtype)

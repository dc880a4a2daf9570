"""How the SAE in training does on tokens that it is not trained on."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from services.saelab.batch_topk import Parameters

TOKENS = 2048
"""So many of the tokens set aside are read; half a second of one core for 4,096 features."""
READINGS = 20
"""So often in a run."""


class Gauge:
    """Tokens set aside. Their documents may have other windows in training: the card's numbers do without these."""

    def __init__(self, aside: Float[Tensor, "tokens d_model"]) -> None:
        self._x = x = aside[:: max(1, len(aside) // TOKENS)][:TOKENS]
        self._variance = float((x - x.mean(0)).square().sum())

    def read(self, p: Parameters, thresholds: Float[Tensor, " features"]) -> tuple[float, float]:
        """Variance explained and L0 of the JumpReLU SAE with these thresholds; all in scaled units."""
        pre = torch.addmm(p.b_enc, self._x - p.b_dec, p.W_enc.T)
        f = torch.where(pre > thresholds, pre, 0.0)
        error = self._x - (f @ p.W_dec + p.b_dec)
        return 1.0 - float(error.square().sum()) / self._variance, float((f > 0).sum()) / len(f)

"""Features like a feature: by the direction of the decoder, and by the tokens on which both are active."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import sparse
from torch import Tensor

Neighbors = tuple[Int[Tensor, "features count"], Float[Tensor, "features count"]]
"""Indices, most similar first, and similarities; -1 and 0 where there are no more."""

_ROWS = 256
"""Features whose similarities to all others are in memory together."""


class Codes:
    """Sparse activations of a run of tokens, as a growing matrix [tokens, features]."""

    def __init__(self, features: int) -> None:
        self._features = features
        self._counts: list[Tensor] = []
        self._indices: list[Tensor] = []
        self._values: list[Tensor] = []

    def add(
        self,
        token: Int[Tensor, " nonzero"],
        feature: Int[Tensor, " nonzero"],
        value: Float[Tensor, " nonzero"],
        tokens: int,
    ) -> None:
        """Appends so many tokens; the non-zero activations are given in order of tokens, numbered from 0."""
        self._counts.append(torch.bincount(token, minlength=tokens).to(torch.int32))
        self._indices.append(feature.to(torch.int32))
        self._values.append(value.float())

    def tensors(self) -> dict[str, Tensor]:
        """What of() makes it from."""
        whole = {"code_counts": self._counts, "code_indices": self._indices, "code_values": self._values}
        kinds = {"code_counts": torch.int32, "code_indices": torch.int32, "code_values": torch.float32}
        return {
            name: torch.cat(parts) if parts else torch.empty(0, dtype=kinds[name])
            for name, parts in whole.items()
        }

    @classmethod
    def of(cls, features: int, tensors: dict[str, Tensor]) -> Codes:
        """The codes that tensors() gave."""
        codes = cls(features)
        codes._counts, codes._indices = [tensors["code_counts"]], [tensors["code_indices"]]
        codes._values = [tensors["code_values"]]
        return codes

    def matrix(self) -> sparse.csr_matrix:
        """[tokens, features], float32."""
        parts = self.tensors()
        counts = parts["code_counts"].numpy()
        starts = np.concatenate([np.zeros(1, np.int64), counts.cumsum(dtype=np.int64)])
        shape = (len(counts), self._features)
        return sparse.csr_matrix((parts["code_values"].numpy(), parts["code_indices"].numpy(), starts), shape)


def coactivation_neighbors(codes: Codes, count: int) -> Neighbors:
    """The features whose activations over the tokens have the largest cosine with a feature's."""
    by_token = codes.matrix()
    norms = np.sqrt(np.asarray(by_token.multiply(by_token).sum(0), np.float32)).ravel()
    unit = (by_token @ sparse.diags(1.0 / np.maximum(norms, 1e-12))).tocsr()
    by_feature = unit.T.tocsr()
    features = by_feature.shape[0]
    found = [
        _best(torch.from_numpy((by_feature[start : start + _ROWS] @ unit).toarray()).float(), start, count)
        for start in range(0, features, _ROWS)
    ]
    return torch.cat([indices for indices, _ in found]), torch.cat([values for _, values in found])


def decoder_neighbors(
    directions: Float[Tensor, "features d_model"], live: Bool[Tensor, " features"], count: int
) -> Neighbors:
    """The live features whose decoder directions have the largest cosine with a feature's."""
    unit = torch.nn.functional.normalize(directions.float(), dim=1)
    found = []
    for start in range(0, len(unit), _ROWS):
        cosines = unit[start : start + _ROWS] @ unit.T
        cosines[:, ~live] = 0.0
        found.append(_best(cosines, start, count))
    return torch.cat([indices for indices, _ in found]), torch.cat([values for _, values in found])


def _best(similarities: Float[Tensor, "rows features"], start: int, count: int) -> Neighbors:
    """The largest positive similarities of each row, but for the feature's own."""
    own = torch.arange(len(similarities))
    similarities[own, own + start] = 0.0
    top = similarities.topk(min(count, similarities.shape[1]), dim=1)
    values = top.values.clamp_min(0.0)
    return torch.where(values > 0, top.indices, -1), values

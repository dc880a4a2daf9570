"""BatchTopK sparse autoencoders: selection, sparse products, gradients in closed form.

BatchTopK keeps the k x batch largest activations of a whole batch, so that tokens share the budget (Bussmann et al.
2024, arXiv 2412.06410). Only 1 % of activations are non-zero: all products with them are sparse, and gradients are
written out instead of recorded. The auxiliary loss revives dead features (Gao et al. 2024, arXiv 2406.04093).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Sparse:
    """The non-zero activations of a batch, ordered by row."""

    rows: Int[Tensor, " nonzero"]
    columns: Int[Tensor, " nonzero"]
    values: Float[Tensor, " nonzero"]
    shape: tuple[int, int]
    """Tokens of the batch, features."""

    def times(self, matrix: Float[Tensor, "features d_model"]) -> Float[Tensor, "batch d_model"]:
        """The product with a dense matrix."""
        return _bags(self.rows, self.columns, self.values, matrix, self.shape[0])

    def transposed_times(self, matrix: Float[Tensor, "batch d_model"]) -> Float[Tensor, "features d_model"]:
        """The product of the transpose with a dense matrix."""
        order = torch.argsort(self.columns, stable=True)
        return _bags(self.columns[order], self.rows[order], self.values[order], matrix, self.shape[1])

    def column_sums(self) -> Float[Tensor, " features"]:
        """The sum over the batch of each feature's activations."""
        return self.values.new_zeros(self.shape[1]).index_add_(0, self.columns, self.values)

    def with_values(self, values: Float[Tensor, " nonzero"]) -> Sparse:
        """The same pattern with other values."""
        return Sparse(self.rows, self.columns, values, self.shape)


def _bags(outer: Tensor, inner: Tensor, values: Tensor, matrix: Tensor, count: int) -> Tensor:
    """Row i: the sum over entries with outer == i of value times matrix[inner]; `outer` must be sorted."""
    sizes = torch.bincount(outer, minlength=count)
    return functional.embedding_bag(
        inner, matrix, sizes.cumsum(0) - sizes, mode="sum", per_sample_weights=values
    )


def batch_topk(pre: Float[Tensor, "batch features"], k: int, hint: float = 0.0) -> Sparse:
    """The k x batch largest activations, those not above 0 left out.

    A `hint` somewhat under the smallest that will be chosen saves most of the search; any value gives the same result.
    """
    wanted = min(k * pre.shape[0], pre.numel())
    flat = pre.flatten()
    candidates = (flat > max(hint, 0.0)).nonzero()[:, 0]
    if len(candidates) < wanted and hint > 0.0:
        candidates = (flat > 0.0).nonzero()[:, 0]
    values = flat[candidates]
    if len(candidates) > wanted:
        chosen = values.topk(wanted, sorted=False).indices.sort().values
        candidates, values = candidates[chosen], values[chosen]
    features = pre.shape[1]
    return Sparse(candidates // features, candidates % features, values, (pre.shape[0], features))


@dataclass(frozen=True, slots=True)
class Parameters:
    """A BatchTopK autoencoder of scaled activations: f = BatchTopK((x - b_dec) W_enc^T + b_enc)."""

    W_enc: Float[Tensor, "features d_model"]
    b_enc: Float[Tensor, " features"]
    W_dec: Float[Tensor, "features d_model"]
    """Rows of norm 1."""
    b_dec: Float[Tensor, " d_model"]

    def tensors(self) -> dict[str, Tensor]:
        """All of them by name."""
        return {"W_enc": self.W_enc, "b_enc": self.b_enc, "W_dec": self.W_dec, "b_dec": self.b_dec}

    def normalise_decoder(self) -> None:
        """Gives decoder rows norm 1 again, in place."""
        self.W_dec.div_(self.W_dec.norm(dim=1, keepdim=True).clamp_min(1e-12))


@dataclass(frozen=True, slots=True)
class Gradients:
    """Gradients of the loss with respect to the parameters, and what the pass found on the way."""

    parameters: Parameters
    loss: float
    """Mean over tokens of the squared error."""
    active: Sparse

    @property
    def smallest(self) -> float:
        """The smallest activation that was chosen; 0 where none was."""
        return float(self.active.values.min()) if len(self.active.values) else 0.0


@dataclass(frozen=True, slots=True)
class Revival:
    """The auxiliary loss: dead features reconstruct what the live ones left over."""

    dead: Int[Tensor, " dead"]
    """Indices of the dead features."""
    k: int
    """How many of them reconstruct each token's error."""
    weight: float
    """Of the auxiliary loss, beside 1 for the main one."""


def gradients(
    p: Parameters,
    x: Float[Tensor, "batch d_model"],
    k: int,
    hint: float = 0.0,
    revival: Revival | None = None,
) -> Gradients:
    """Gradients of mean |x - reconstruction|^2 over the batch, plus the auxiliary loss where there is a revival."""
    batch = x.shape[0]
    centred = x - p.b_dec
    pre = torch.addmm(p.b_enc, centred, p.W_enc.T)
    active = batch_topk(pre, k, hint)
    error = active.times(p.W_dec) - centred
    upstream = error * (2.0 / batch)
    d_values = (upstream[active.rows] * p.W_dec[active.columns]).sum(1)
    d_pre = active.with_values(d_values)
    d_b_enc = d_pre.column_sums()
    found = Parameters(
        W_enc=d_pre.transposed_times(centred),
        b_enc=d_b_enc,
        W_dec=active.transposed_times(upstream),
        b_dec=upstream.sum(0) - d_b_enc @ p.W_enc,
    )
    if revival is not None and len(revival.dead):
        _add_revival(found, p, centred, pre, -error, revival)
    return Gradients(found, float(error.square().sum()) / batch, active)


def _add_revival(
    found: Parameters, p: Parameters, centred: Tensor, pre: Tensor, left: Tensor, revival: Revival
) -> None:
    """Adds the gradient of weight x mean |left - dead features' reconstruction of it|^2, `left` held constant."""
    dead = revival.dead
    top = pre[:, dead].topk(min(revival.k, len(dead)), dim=1)
    f = torch.zeros_like(pre[:, dead]).scatter_(1, top.indices, top.values.clamp_min(0.0))
    W = p.W_dec[dead]
    upstream = (f @ W - left) * (2.0 * revival.weight / len(left))
    d_pre = (upstream @ W.T) * (f > 0)
    found.W_dec.index_add_(0, dead, f.T @ upstream)
    found.W_enc.index_add_(0, dead, d_pre.T @ centred)
    found.b_enc.index_add_(0, dead, d_pre.sum(0))
    found.b_dec.sub_(d_pre.sum(0) @ p.W_enc[dead])


def encoder_scale(
    centred: Float[Tensor, "batch d_model"], W_dec: Float[Tensor, "features d_model"], k: int
) -> float:
    """The s for which the encoder s x W_dec gives the best k-sparse reconstruction, by least squares.

    Which activations are chosen does not depend on s > 0: the reconstruction is s times a fixed r, s = <x, r>/<r, r>.
    """
    r = batch_topk(centred @ W_dec.T, k).times(W_dec)
    return float((centred * r).sum() / r.square().sum())


def data_init(
    sample: Float[Tensor, "tokens d_model"], features: int, k: int, noise: float, generator: torch.Generator
) -> Parameters:
    """Decoder rows are directions of random tokens from the mean, mixed with noise; the encoder is s times them."""
    mean = sample.mean(0)
    picks = torch.randint(len(sample), (features,), generator=generator)
    directions = functional.normalize(sample[picks] - mean, dim=1)
    random = functional.normalize(torch.randn(directions.shape, generator=generator), dim=1)
    W_dec = functional.normalize((1 - noise) * directions + noise * random, dim=1)
    s = encoder_scale(sample[:4096] - mean, W_dec, k)
    return Parameters(s * W_dec, torch.zeros(features), W_dec.clone(), mean)

"""BatchTopK sparse autoencoders: selection, sparse products, gradients in closed form.

BatchTopK keeps the k x batch largest activations of a whole batch, so that tokens share the budget (Bussmann et al.
2024, arXiv 2412.06410). Only 1 % of activations are non-zero: all products with them are sparse, and gradients are
written out instead of recorded. The auxiliary loss revives dead features (Gao et al. 2024, arXiv 2406.04093).

A Matryoshka SAE (Bussmann et al. 2025, arXiv 2503.17547) is several nested ones: the first m features must reconstruct
x without the rest, for each m of some prefixes, and the losses of all prefixes are summed.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    """Mean over tokens of the squared error of the whole dictionary."""
    active: Sparse
    smallest: float
    """The smallest activation that was chosen, less its feature's offset; 0 where none was."""


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
    *,
    prefixes: Sequence[int] = (),
    offset: Float[Tensor, " features"] | None = None,
) -> Gradients:
    """Gradients of mean |x - reconstruction|^2 over the batch, plus the auxiliary loss where there is a revival.

    With `prefixes` (rising, below the number of features), the sum of this over the prefixes and the whole dictionary.
    The largest activations less `offset` are chosen, where there is one; what they are does not depend on it.
    """
    batch = x.shape[0]
    centred = x - p.b_dec
    score = torch.addmm(p.b_enc if offset is None else p.b_enc - offset, centred, p.W_enc.T)
    active = batch_topk(score, k, hint)
    smallest = float(active.values.min()) if len(active.values) else 0.0
    if offset is not None:
        active = active.with_values(active.values + offset[active.columns])
    errors, places = _nested_errors(p, active, centred, prefixes)
    # A feature acts on the reconstruction of every prefix that it is in: errors of these prefixes, summed.
    upstream = (errors * (2.0 / batch)).flip(0).cumsum(0).flip(0).flatten(0, 1)
    d_values = (upstream[places] * p.W_dec[active.columns]).sum(1)
    d_pre = active.with_values(d_values)
    d_b_enc = d_pre.column_sums()
    order = torch.argsort(active.columns, stable=True)
    found = Parameters(
        W_enc=d_pre.transposed_times(centred),
        b_enc=d_b_enc,
        W_dec=_bags(active.columns[order], places[order], active.values[order], upstream, active.shape[1]),
        b_dec=upstream[:batch].sum(0) - d_b_enc @ p.W_enc,
    )
    error = errors[-1]
    if revival is not None and len(revival.dead):
        dead = revival.dead
        pre = score[:, dead] if offset is None else score[:, dead] + offset[dead]
        _add_revival(found, p, centred, pre, -error, revival)
    return Gradients(found, float(error.square().sum()) / batch, active, smallest)


def _nested_errors(
    p: Parameters, active: Sparse, centred: Float[Tensor, "batch d_model"], prefixes: Sequence[int]
) -> tuple[Float[Tensor, "prefixes batch d_model"], Int[Tensor, " nonzero"]]:
    """Reconstruction less x for each prefix and the whole, and for each activation its first prefix x batch + row."""
    if not prefixes:
        return (active.times(p.W_dec) - centred)[None], active.rows
    batch = len(centred)
    bounds = torch.tensor(prefixes, device=centred.device)
    places = torch.bucketize(active.columns, bounds, right=True) * batch + active.rows
    order = torch.argsort(places, stable=True)
    count = (len(prefixes) + 1) * batch
    parts = _bags(places[order], active.columns[order], active.values[order], p.W_dec, count)
    return parts.view(-1, *centred.shape).cumsum(0) - centred, places


def _add_revival(
    found: Parameters, p: Parameters, centred: Tensor, pre: Tensor, left: Tensor, revival: Revival
) -> None:
    """Adds the gradient of weight x mean |left - dead features' reconstruction of it|^2, `left` held constant.

    `pre` are the activations of the dead features alone.
    """
    dead = revival.dead
    top = pre.topk(min(revival.k, len(dead)), dim=1)
    f = torch.zeros_like(pre).scatter_(1, top.indices, top.values.clamp_min(0.0))
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

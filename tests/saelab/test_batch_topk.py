from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from services.saelab.batch_topk import (
    Parameters,
    Revival,
    Sparse,
    batch_topk,
    data_init,
    encoder_scale,
    gradients,
)

FEATURES, D_MODEL, BATCH, K = 48, 12, 40, 3


def dense(sparse: Sparse) -> Tensor:
    return torch.zeros(sparse.shape).index_put((sparse.rows, sparse.columns), sparse.values)


def obvious_batch_topk(pre: Tensor, k: int) -> Tensor:
    """Sorts everything and keeps the first k x batch, but no activation that is not above 0."""
    kept = torch.zeros_like(pre)
    chosen = torch.argsort(pre.flatten(), descending=True)[: k * pre.shape[0]]
    kept.view(-1)[chosen] = pre.flatten()[chosen].clamp_min(0.0)
    return kept


def parameters(seed: int) -> Parameters:
    generator = torch.Generator().manual_seed(seed)
    return Parameters(
        W_enc=torch.randn(FEATURES, D_MODEL, generator=generator) * 0.4,
        b_enc=torch.randn(FEATURES, generator=generator) * 0.1,
        W_dec=functional.normalize(torch.randn(FEATURES, D_MODEL, generator=generator), dim=1),
        b_dec=torch.randn(D_MODEL, generator=generator) * 0.3,
    )


@pytest.mark.parametrize("shift", [0.0, -3.0, -10.0])
@pytest.mark.parametrize("hint", [0.0, 0.5, 1.9, 100.0])
def test_batch_topk_keeps_the_largest_of_the_whole_batch_whatever_the_hint(shift: float, hint: float) -> None:
    pre = torch.randn(BATCH, FEATURES, generator=torch.Generator().manual_seed(1)) + shift
    assert torch.equal(dense(batch_topk(pre, K, hint)), obvious_batch_topk(pre, K))


def test_tokens_share_the_budget() -> None:
    pre = torch.randn(BATCH, FEATURES, generator=torch.Generator().manual_seed(2))
    pre[0] += 5.0
    counts = (dense(batch_topk(pre, K)) > 0).sum(1)
    assert counts.sum() == K * BATCH
    assert counts[0] > K > counts.min()


def test_sparse_products_equal_dense_ones() -> None:
    pre = torch.randn(BATCH, FEATURES, generator=torch.Generator().manual_seed(3))
    sparse = batch_topk(pre, K)
    W, x = torch.randn(FEATURES, D_MODEL), torch.randn(BATCH, D_MODEL)
    torch.testing.assert_close(sparse.times(W), dense(sparse) @ W)
    torch.testing.assert_close(sparse.transposed_times(x), dense(sparse).T @ x)
    torch.testing.assert_close(sparse.column_sums(), dense(sparse).sum(0))


@pytest.mark.parametrize("offset", [None, torch.linspace(0.0, 0.8, FEATURES)], ids=["plain", "offset"])
@pytest.mark.parametrize("prefixes", [(), (5,), (1, 8, 30)], ids=str)
@pytest.mark.parametrize("revived", [[], [0], [3, 7, 20, 41]], ids=str)
def test_written_out_gradients_equal_autograd(
    revived: list[int], prefixes: tuple[int, ...], offset: Tensor | None
) -> None:
    p = parameters(4)
    x = torch.randn(BATCH, D_MODEL, generator=torch.Generator().manual_seed(5))
    revival = Revival(torch.tensor(revived, dtype=torch.int64), k=2, weight=0.5)
    found = gradients(p, x, K, 0.0, revival, prefixes=prefixes, offset=offset)

    q = Parameters(**{name: tensor.clone().requires_grad_() for name, tensor in p.tensors().items()})
    pre = (x - q.b_dec) @ q.W_enc.T + q.b_enc
    score = pre.detach() if offset is None else pre.detach() - offset
    f = torch.where(obvious_batch_topk(score, K) > 0, pre, 0.0)
    errors = [x - (f[:, :size] @ q.W_dec[:size] + q.b_dec) for size in (*prefixes, FEATURES)]
    error = errors[-1]
    loss = sum(each.square().sum() / BATCH for each in errors)
    assert isinstance(loss, Tensor)
    if revived:
        top = pre[:, revived].topk(min(2, len(revived)))
        g = torch.zeros(BATCH, len(revived)).scatter(1, top.indices, top.values.relu())
        loss = loss + 0.5 * (error.detach() - g @ q.W_dec[revived]).square().sum() / BATCH
    loss.backward()
    assert found.loss == pytest.approx(float(error.detach().square().sum()) / BATCH, rel=1e-5)
    for name, tensor in found.parameters.tensors().items():
        torch.testing.assert_close(tensor, q.tensors()[name].grad, msg=name)


def test_the_closed_form_encoder_scale_is_the_least_squares_one() -> None:
    generator = torch.Generator().manual_seed(6)
    x = torch.randn(200, D_MODEL, generator=generator)
    W_dec = functional.normalize(torch.randn(FEATURES, D_MODEL, generator=generator), dim=1)
    s = encoder_scale(x, W_dec, K)

    def error(scale: float) -> float:
        f = obvious_batch_topk(scale * (x @ W_dec.T), K)
        return float((x - f @ W_dec).square().sum())

    grid = torch.linspace(0.2 * s, 2.0 * s, 181)
    best = float(grid[torch.tensor([error(float(scale)) for scale in grid]).argmin()])
    assert best == pytest.approx(s, abs=float(grid[1] - grid[0]))
    assert error(s) < error(1.0)


def test_data_init_starts_from_the_mean_with_unit_decoder_rows_along_tokens() -> None:
    generator = torch.Generator().manual_seed(7)
    sample = torch.randn(500, D_MODEL, generator=generator) + 4.0
    p = data_init(sample, FEATURES, K, noise=0.2, generator=generator)
    torch.testing.assert_close(p.b_dec, sample.mean(0))
    torch.testing.assert_close(p.W_dec.norm(dim=1), torch.ones(FEATURES))
    directions = functional.normalize(sample - sample.mean(0), dim=1)
    assert (p.W_dec @ directions.T).max(1).values.min() > 0.8
    torch.testing.assert_close(functional.normalize(p.W_enc, dim=1), p.W_dec)

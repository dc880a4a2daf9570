"""Packed linear layers: the plain product, and the same bits for a row whatever the number of rows."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from services.inference.packed import PackedLinear, pack_linears


@pytest.mark.parametrize(("width", "out"), [(32, 300), (36, 50), (576, 192), (64, 1000)])
def test_a_rows_bits_do_not_depend_on_the_number_of_rows(width: int, out: int) -> None:
    torch.manual_seed(0)
    layer = PackedLinear([nn.Linear(width, out)], torch.float32)
    x = torch.randn(70, width)
    with torch.inference_mode():
        whole = layer(x)
        for rows in (1, 2, 3, 4, 5, 8, 16, 31, 33, 64):
            for start in (0, 70 - rows):
                assert torch.equal(layer(x[start : start + rows]), whole[start : start + rows])


@pytest.mark.parametrize("bias", [True, False])
def test_it_is_the_plain_product_forward_and_backward(bias: bool) -> None:
    torch.manual_seed(0)
    plain = nn.Linear(40, 30, bias=bias)
    packed = PackedLinear([plain], torch.float32)
    x = torch.randn(3, 7, 40, requires_grad=True)
    y = torch.randn(3, 7, 30)
    torch.testing.assert_close(packed(x), plain(x))
    (ours,) = torch.autograd.grad((packed(x) * y).sum(), x)
    (theirs,) = torch.autograd.grad((plain(x) * y).sum(), x)
    torch.testing.assert_close(ours, theirs)


class Block(nn.Module):
    """Siblings that are fused, one that is not, and a Conv1D."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj = (
            nn.Linear(16, 16),
            nn.Linear(16, 8, bias=False),
            nn.Linear(16, 8),
        )
        self.c_attn = Conv1D(24, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.c_attn(torch.cat([self.q_proj(x), self.k_proj(x), self.v_proj(x)], -1))
        return out


def test_siblings_are_fused_and_conv1d_is_packed_without_changing_the_result() -> None:
    torch.manual_seed(0)
    plain = Block().requires_grad_(False)
    packed = copy.deepcopy(plain)
    pack_linears(packed, torch.float32)
    assert not any(isinstance(m, nn.Linear | Conv1D) for m in packed.modules())
    for _ in range(2):
        x = torch.randn(5, 16)
        torch.testing.assert_close(packed(x), plain(x))

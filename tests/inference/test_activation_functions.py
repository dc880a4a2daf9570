"""Activation functions: the plain ones, and the same bits for a row in any batch on any number of threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from transformers.activations import ACT2FN

from services.inference.activation_functions import SteadyActivation, steady_activations
from tests.inference.tiny import tiny


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [50, 1536])
@pytest.mark.parametrize("name", ["silu", "gelu", "gelu_new", "gelu_pytorch_tanh", "relu"])
def test_a_rows_bits_do_not_depend_on_the_number_of_rows(
    name: str, width: int, dtype: torch.dtype, threads: int
) -> None:
    torch.manual_seed(0)
    function = SteadyActivation(ACT2FN[name])
    x = torch.randn(257, width).to(dtype)
    whole = function(x[None])[0]
    for start in range(0, 257, 32):
        assert torch.equal(function(x[start : start + 1]), whole[start : start + 1])
        assert torch.equal(function(x[start : start + 3]), whole[start : start + 3])
    torch.testing.assert_close(whole, ACT2FN[name](x))


def test_it_is_differentiable() -> None:
    x = torch.randn(3, 50, requires_grad=True)
    (ours,) = torch.autograd.grad(SteadyActivation(nn.SiLU())(x).sum(), x)
    (plain,) = torch.autograd.grad(nn.functional.silu(x).sum(), x)
    assert torch.equal(ours, plain)


def test_every_mlp_of_a_served_model_has_one_and_only_once() -> None:
    module = tiny().model.module
    steady_activations(module)
    found = [m for m in module.modules() if isinstance(m, SteadyActivation)]
    assert len(found) == 4
    assert not any(isinstance(m.inner, SteadyActivation) for m in found)

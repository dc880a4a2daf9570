"""The type of computation follows the hardware, and what the hardware cannot do is refused in words."""

from __future__ import annotations

import pytest
import torch

from services.inference.dtype import choose_dtype

CPU = torch.device("cpu")


def test_auto_takes_bfloat16_only_where_the_cpu_multiplies_it() -> None:
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    assert choose_dtype("auto", CPU) is (torch.bfloat16 if fast else torch.float32)


def test_a_type_in_which_this_cpu_cannot_pack_weights_is_refused() -> None:
    assert choose_dtype("float32", CPU) is torch.float32
    for name, supported in (
        ("bfloat16", torch.ops.mkldnn._is_mkldnn_bf16_supported()),
        ("float16", torch.ops.mkldnn._is_mkldnn_fp16_supported()),
    ):
        if supported:
            assert choose_dtype(name, CPU) is getattr(torch, name)
        else:
            with pytest.raises(ValueError, match=f"dtype {name} is not supported by this CPU"):
                choose_dtype(name, CPU)

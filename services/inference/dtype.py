"""The type in which a model is computed."""

from __future__ import annotations

from collections.abc import Callable

import torch

_PACKS_ON_CPU: dict[torch.dtype, Callable[[], bool]] = {
    torch.float32: lambda: True,
    torch.bfloat16: lambda: bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()),
    torch.float16: lambda: bool(torch.ops.mkldnn._is_mkldnn_fp16_supported()),
}


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The type of computation: `auto` takes bfloat16 where the hardware multiplies it, else float32.

    Raises ValueError for a type in which this CPU cannot pack weights.
    """
    if name != "auto":
        chosen = getattr(torch, name)
        assert isinstance(chosen, torch.dtype)
        if device.type == "cpu" and not _PACKS_ON_CPU[chosen]():
            raise ValueError(f"dtype {name} is not supported by this CPU; use float32 or auto")
        return chosen
    if device.type == "cuda":
        return torch.bfloat16
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if fast else torch.float32

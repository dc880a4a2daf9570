"""The blocks of a Hugging Face causal LM, found by what they are and not by the family's name."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

SIDE_TOWERS = ("vision", "visual", "audio", "encoder", "image", "speech")
"""Parts of multimodal models that may have as many blocks as the language model, but are not it."""


class NoDecoderStack(RuntimeError):
    """The model has no single stack of decoder blocks."""


def decoder_layers(model: nn.Module) -> nn.ModuleList:
    """The blocks, in order: `model.model.layers` of a Llama, `model.transformer.h` of a GPT-2, and so on.

    They are the outermost module list with as many members as the configuration has hidden layers. Raises
    NoDecoderStack where there is none, or more than one.
    """
    return _named_stack(model)[1]


def decoder_path(model: nn.Module) -> str:
    """The name of the list of blocks inside the model, for example `model.layers` or `transformer.h`."""
    return _named_stack(model)[0]


def text_config(model: nn.Module) -> Any:
    """The configuration of the language model, also where it is a part of a multimodal one."""
    config: Any = model.config
    return config.get_text_config(decoder=True) if hasattr(config, "get_text_config") else config


def residual_of(output: Any) -> Float[Tensor, "batch tokens d_model"]:
    """The residual stream in what a block returned: a tensor, or the first of a tuple, by family and version."""
    residual: Tensor = output[0] if isinstance(output, (tuple, list)) else output
    return residual


def _named_stack(model: nn.Module) -> tuple[str, nn.ModuleList]:
    config = text_config(model)
    if getattr(config, "is_encoder_decoder", False):
        raise NoDecoderStack(
            f"{type(model).__name__} is an encoder-decoder model; only causal LMs can be steered"
        )
    count = config.num_hidden_layers
    found = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList)
        and len(module) == count
        and not any(tower in part for part in name.split(".") for tower in SIDE_TOWERS)
    ]
    if not found:
        raise NoDecoderStack(
            f"{type(model).__name__} has no list of {count} blocks, as its configuration says"
        )
    depth = min(name.count(".") for name, _ in found)
    outermost = [(name, module) for name, module in found if name.count(".") == depth]
    if len(outermost) > 1:
        names = ", ".join(name for name, _ in outermost)
        raise NoDecoderStack(f"{type(model).__name__} has several lists of {count} blocks: {names}")
    return outermost[0]

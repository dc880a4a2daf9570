"""Names of hook points, as the file formats write them, and as Hearth does: `model.layers.15`, a block's output."""

from __future__ import annotations

import re

# TransformerLens: the stream after a block, and before it, which is the one after the block below.
_RESID_POST = re.compile(r"blocks\.(\d+)\.hook_resid_post")
_RESID_PRE = re.compile(r"blocks\.(\d+)\.hook_resid_pre")
# Module names: model.layers.15, transformer.h.3, gpt_neox.layers.3, layers.3 (sparsify), h.3.
_BLOCK = re.compile(r"(?:[a-z_]+\.)*(?:layers|h|blocks|block)\.(\d+)")


def hook_point(layer: int) -> str:
    """The name of the output of block `layer`, counted from 0."""
    return f"model.layers.{layer}"


def transformer_lens_name(layer: int) -> str:
    """The same point in TransformerLens' words, which every reader of the SAELens format knows."""
    return f"blocks.{layer}.hook_resid_post"


def layer_of(name: str) -> int | None:
    """The block whose output a hook name means; None where it means no block's output (MLP, attention, embedding).

    `blocks.N.hook_resid_pre` is the output of block N - 1.
    """
    if match := _RESID_POST.fullmatch(name) or _BLOCK.fullmatch(name):
        return int(match[1])
    if (match := _RESID_PRE.fullmatch(name)) and int(match[1]) > 0:
        return int(match[1]) - 1
    return None

"""The activation functions of a model's MLPs, with bits that do not depend on the batch.

On a CPU torch computes the last few elements of a run, which fill no whole vector, by another formula than the others,
and cuts long runs between threads wherever their number happens to divide them. So an element's bits depend on how many
rows there are, unless every piece is made of whole vectors.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

NAMES = ("act_fn", "act", "activation_fn")
"""What transformers' MLPs call their activation function."""
_VECTORS = 64
"""Elements that are whole vectors in every type and on every CPU: two vectors of 32 bfloat16 in AVX-512."""
_GRAIN = 32_768
"""Elements for which torch takes another thread (at::internal::GRAIN_SIZE)."""
_ONE_THREAD = 16_384
"""Elements up to which every function stays on one thread; GELU uses all threads for more."""


class SteadyActivation(nn.Module):
    """An elementwise function; a row's bits do not depend on the number of rows."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Float[Tensor, "*rows width"]) -> Float[Tensor, "*rows width"]:
        """The function of x."""
        if x.device.type != "cpu" or (torch.is_grad_enabled() and x.requires_grad):
            return self.inner(x)  # type: ignore[no-any-return]
        width = x.shape[-1]
        if width % _VECTORS == 0 and _cut_between_vectors(x.numel()):
            return self.inner(x)  # type: ignore[no-any-return]
        rows = x.reshape(-1, width).contiguous()
        if width % _VECTORS:
            rows = nn.functional.pad(rows, (0, -width % _VECTORS))
        if not _cut_between_vectors(rows.numel()):
            at_once = max(_ONE_THREAD // rows.shape[1], 1)
            out = torch.cat([self.inner(block) for block in rows.split(at_once)])  # type: ignore[no-untyped-call]
        else:
            out = self.inner(rows)
        return out[:, :width].reshape(x.shape)


def steady_activations(model: nn.Module) -> None:
    """Wraps every activation function of a model, in place."""
    for module in list(model.modules()):
        for name in NAMES:
            inner = getattr(module, name, None)
            if isinstance(inner, nn.Module) and not isinstance(inner, SteadyActivation):
                setattr(module, name, SteadyActivation(inner))


def _cut_between_vectors(elements: int) -> bool:
    """Whether the threads' pieces of a run are made of whole vectors."""
    most = torch.get_num_threads()
    if most == 1 or elements <= _ONE_THREAD:
        return True
    return all(
        -(-elements // threads) % _VECTORS == 0 for threads in {most, min(most, -(-elements // _GRAIN))}
    )

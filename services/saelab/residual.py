"""The residual stream of a Hugging Face causal LM at a hook point: read, or replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from services.inference.embedded import resolve_model
from services.inference.sae.base import SINK_NORMS
from services.saelab.errors import BadActivation, HookPointError
from services.saelab.windows import Window


class _Reached(Exception):
    """The hook point was passed: what comes above it is not needed."""


class HookedModel:
    """A causal LM whose residual stream after one block can be read and edited; float32 weights."""

    def __init__(self, model: nn.Module, hook_point: str) -> None:
        self.model = model.eval()
        self.hook_point = hook_point
        try:
            self._block = model.get_submodule(hook_point)
        except AttributeError:
            raise HookPointError(f"the model has no {hook_point!r}; {_choices(model)}") from None

    @classmethod
    def load(cls, model: str | Path, hook_point: str, device: str = "cpu") -> HookedModel:
        """Loads a model by folder or hub id, computing in float32."""
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging

        disable_progress: Any = logging.disable_progress_bar
        disable_progress()  # Its bars would break those of the commands.
        loaded: Any = AutoModelForCausalLM.from_pretrained(resolve_model(str(model)), dtype=torch.float32)
        return cls(loaded.to(device), hook_point)

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return next(self.model.parameters()).device

    def residuals(self, tokens: Int[Tensor, "batch length"]) -> Float[Tensor, "batch length d_model"]:
        """The residual stream after the block; blocks above it are not run."""
        seen: list[Tensor] = []

        def hook(module: nn.Module, args: Any, output: Any) -> None:
            seen.append(_hidden(output))
            raise _Reached

        with torch.inference_mode(), _hooked(self._block, hook), suppress(_Reached):
            self.model(input_ids=tokens, use_cache=False)
        if not seen or seen[0].dim() != 3:
            raise HookPointError(f"{self.hook_point!r} gave no residual stream; {_choices(self.model)}")
        return seen[0]

    def logits(
        self, tokens: Int[Tensor, "batch length"], edit: Callable[[Tensor], Tensor] | None = None
    ) -> Float[Tensor, "batch length vocabulary"]:
        """Next-token logits, with the residual stream replaced by `edit` of it."""
        with torch.inference_mode(), self.edited(edit):
            output: Tensor = self.model(input_ids=tokens, use_cache=False).logits
        return output

    def next_logits(
        self, tokens: Int[Tensor, "1 length"], edit: Callable[[Tensor], Tensor] | None = None
    ) -> Float[Tensor, "batch vocabulary"]:
        """Logits after the last token. Where `edit` makes a batch of the one sequence, only the blocks above the hook
        point run on all of it."""
        with torch.inference_mode(), self.edited(edit):
            output: Tensor = self.model(input_ids=tokens, use_cache=False, logits_to_keep=1).logits
        return output[:, -1]

    def continued(
        self, prompt: Int[Tensor, " length"], rows: Int[Tensor, "batch more"]
    ) -> tuple[Float[Tensor, "batch more d_model"], Float[Tensor, "batch more vocabulary"]]:
        """Residual stream and next-token logits at tokens that follow a prompt, which is read once for all rows."""
        seen: list[Tensor] = []

        def keep(hidden: Tensor) -> Tensor:
            seen.append(hidden)
            return hidden

        with torch.inference_mode():
            cache = self.model(input_ids=prompt[None], use_cache=True, logits_to_keep=1).past_key_values
            cache.batch_repeat_interleave(len(rows))
            with self.edited(keep):
                logits: Tensor = self.model(input_ids=rows, past_key_values=cache, use_cache=True).logits
        return seen[0], logits

    @contextmanager
    def edited(self, edit: Callable[[Tensor], Tensor] | None) -> Iterator[None]:
        """Inside, every pass of the model has its residual stream [batch, length, d_model] replaced by `edit` of it."""
        if edit is None:
            yield
            return

        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            hidden = edit(_hidden(output))
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        with _hooked(self._block, hook):
            yield


def _hidden(output: Any) -> Tensor:
    hidden: Tensor = output[0] if isinstance(output, tuple) else output
    return hidden


@contextmanager
def _hooked(block: nn.Module, hook: Callable[..., Any]) -> Iterator[None]:
    handle = block.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _choices(model: nn.Module) -> str:
    lists = [name for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    blocks = max(lists, key=lambda name: len(list(model.get_submodule(name).children())), default="")
    count = len(list(model.get_submodule(blocks).children())) if blocks else 0
    return f"its blocks are {blocks}.0 to {blocks}.{count - 1}" if count else "it has no list of blocks"


def stacked(windows: Sequence[Window], device: torch.device) -> Int[Tensor, "batch length"]:
    """The windows' tokens, padded at the end: attention is causal, so the padding changes nothing before it."""
    length = max(len(window.tokens) for window in windows)
    rows = [window.tokens + (window.tokens[-1],) * (length - len(window.tokens)) for window in windows]
    return torch.tensor(rows, device=device)


def used_positions(windows: Sequence[Window], device: torch.device) -> Bool[Tensor, "batch length"]:
    """Where stacked() has tokens to be used: neither padding, nor skipped, nor the first position."""
    length = max(len(window.tokens) for window in windows)
    positions = torch.arange(length)
    rows = [(positions >= max(1, window.skip)) & (positions < len(window.tokens)) for window in windows]
    return torch.stack(rows).to(device)


def without_sinks(
    norms: Float[Tensor, "*tokens"], used: Bool[Tensor, "*tokens"], median: float | None = None
) -> Bool[Tensor, "*tokens"]:
    """The used tokens whose norm is at most SINK_NORMS medians; the median is that of the used ones unless given."""
    limit = SINK_NORMS * (float(norms[used].median()) if median is None else median)
    return used & (norms <= limit)


def require_finite(hidden: Tensor, where: str) -> None:
    """Raises BadActivation where a number is not finite."""
    if not bool(torch.isfinite(hidden).all()):
        raise BadActivation(
            f"the residual stream at {where} holds NaN or infinity: check the weights, or compute in float32"
        )

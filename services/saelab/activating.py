"""A resumable pass over text with the model up to the hook point: where each feature is active, and how strongly."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from services.inference.sae.base import Sae
from services.saelab.annotated import AnnotatedText
from services.saelab.checkpoint import SAVE_SECONDS, Checkpoint, load_checkpoint, save_checkpoint
from services.saelab.kept import Kept
from services.saelab.residual import HookedModel, require_finite, stacked, used_positions, without_sinks


@dataclass(frozen=True, slots=True)
class ActivatingSettings:
    """What is kept of each feature. Memory: 8 bytes times features, kept activations and tokens around them, about."""

    top: int = 36
    """The largest activations kept, one of each document in a batch: more than are shown, for many are alike."""
    sample: int = 64
    """Activations drawn at random, all alike."""
    before: int = 19
    """Tokens before the active one that belong to its context."""
    after: int = 8
    """Tokens after it that do."""
    batch: int = 8
    """Windows in one pass of the model."""
    seed: int = 0
    """Of the sample."""

    @property
    def context(self) -> int:
        """Tokens of a context that neither end of the window cuts off."""
        return self.before + 1 + self.after


@dataclass(frozen=True, slots=True)
class Activating:
    """Where features are active in a text."""

    top: Kept
    """Keys are activations."""
    sample: Kept
    """Keys are random; the activation is in the context."""
    counts: Int[Tensor, " features"]
    """Tokens on which each is active."""
    tokens: int
    """Tokens that were encoded."""


def find_activating(
    sae: Sae,
    text: AnnotatedText,
    settings: ActivatingSettings,
    model: Callable[[], HookedModel],
    path: Path,
    run: dict[str, Any],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Activating:
    """Reads the text, going on from the state at `path`; `model` is called only if there is something to read.

    `progress` counts windows. Raises BadActivation, RunMismatch.
    """
    batches = text.batches(settings.batch)
    search = _Search(sae, text, settings)
    state = load_checkpoint(path, run)
    if state is not None:
        search.restore(state)
    progress(min(search.batches * settings.batch, len(text.windows)), len(text.windows))
    saved = time.monotonic()
    hooked = model() if search.batches < len(batches) else None
    for number in range(search.batches, len(batches)):
        assert hooked is not None
        search.read(hooked, batches[number])
        progress(min((number + 1) * settings.batch, len(text.windows)), len(text.windows))
        if time.monotonic() - saved > SAVE_SECONDS or number + 1 == len(batches):
            save_checkpoint(path, search.state(), run)
            saved = time.monotonic()
    return search.found()


class _Search:
    """What was found so far."""

    def __init__(self, sae: Sae, text: AnnotatedText, settings: ActivatingSettings) -> None:
        self._sae, self._text, self._settings = sae, text, settings
        features = sae.weights.d_sae
        self._top = Kept(features, settings.top, settings.context)
        self._sample = Kept(features, settings.sample, settings.context)
        self._counts = torch.zeros(features, dtype=torch.int64)
        self._tokens = self.batches = 0

    def read(self, model: HookedModel, numbers: list[int]) -> None:
        """Takes in a batch of windows."""
        windows = [self._text.windows[number] for number in numbers]
        with torch.inference_mode():
            hidden = model.residuals(stacked(windows, model.device)).float()
            used = used_positions(windows, model.device)
            require_finite(hidden[used], model.hook_point)
            kept = without_sinks(hidden.norm(dim=-1), used, self._sae.median_norm)
            f = self._sae.weights.encode(hidden[kept].cpu())
            self._take(f, kept.cpu(), torch.from_numpy(self._text.starts[numbers]))
        self.batches += 1

    def _take(self, f: Float[Tensor, "rows features"], kept: Tensor, starts: Int[Tensor, " windows"]) -> None:
        window, position = kept.nonzero(as_tuple=True)
        row, feature = f.nonzero(as_tuple=True)
        value, place = f[row, feature], (starts[window] + position)[row]
        self._counts += torch.bincount(feature, minlength=len(self._counts))
        self._tokens += len(f)
        around = _Contexts(f, kept, self._settings)

        def contexts(chosen: Int[Tensor, " chosen"]) -> Float[Tensor, "chosen context"]:
            return around.of(window[row[chosen]], position[row[chosen]], feature[chosen])

        self._sample.add(feature, self._draw(len(row)), place, contexts)
        document = torch.from_numpy(self._text.documents)[place]
        first = _largest_of_groups(document.long() * f.shape[1] + feature, value)
        self._top.add(feature[first], value[first], place[first], lambda chosen: contexts(first[chosen]))

    def _draw(self, count: int) -> Float[Tensor, " count"]:
        """Random keys that depend on the seed and the batch alone."""
        seed = self._settings.seed * 1_000_003 + self.batches
        return torch.rand(count, generator=torch.Generator().manual_seed(seed))

    def state(self) -> Checkpoint:
        """All that the next batch depends on."""
        tensors = self._top.tensors("top") | self._sample.tensors("sample") | {"counts": self._counts}
        return Checkpoint(tensors, {"batches": self.batches, "tokens": self._tokens})

    def restore(self, state: Checkpoint) -> None:
        """Goes on from a state."""
        self._top, self._sample = Kept.of("top", state.tensors), Kept.of("sample", state.tensors)
        self._counts = state.tensors["counts"]
        self.batches, self._tokens = state.state["batches"], state.state["tokens"]

    def found(self) -> Activating:
        """The result."""
        return Activating(self._top, self._sample, self._counts, self._tokens)


class _Contexts:
    """Activations around tokens of a batch; 0 outside the window and at tokens that are not encoded."""

    def __init__(self, f: Float[Tensor, "rows features"], kept: Tensor, settings: ActivatingSettings) -> None:
        self._f = f
        self._offsets = torch.arange(-settings.before, settings.after + 1)
        self._rows = torch.full(kept.shape, -1)
        self._rows[kept] = torch.arange(len(f))

    def of(
        self, window: Int[Tensor, " n"], position: Int[Tensor, " n"], feature: Int[Tensor, " n"]
    ) -> Float[Tensor, "n context"]:
        """The activations of the feature around the position in the window."""
        places = position[:, None] + self._offsets
        inside = (places >= 0) & (places < self._rows.shape[1])
        row = self._rows[window[:, None], places.clamp(0, self._rows.shape[1] - 1)]
        values = self._f[row.clamp_min(0), feature[:, None]]
        return torch.where(inside & (row >= 0), values, 0.0)


def _largest_of_groups(group: Int[Tensor, " n"], value: Float[Tensor, " n"]) -> Int[Tensor, " groups"]:
    """The number of the largest value of each group; the first of equals."""
    order = value.argsort(descending=True, stable=True)
    order = order[group[order].argsort(stable=True)]
    ordered = group[order]
    begins = torch.ones(len(order), dtype=torch.bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    return order[begins]

"""One pass over held-out text: how well the SAE reconstructs it, where features are active, what passages they mark.

Resumable: the state is sums, and pooled activations of the passages that probes ask for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from services.inference.sae.base import SINK_NORMS, SaeWeights
from services.saelab.annotated import TEMPLATE, AnnotatedText
from services.saelab.checkpoint import SAVE_SECONDS, Checkpoint, load_checkpoint, save_checkpoint
from services.saelab.feature_classes import FIRST_TOKENS
from services.saelab.reference import FeatureStatistics
from services.saelab.residual import HookedModel, require_finite, stacked, used_positions, without_sinks
from services.saelab.windows import shuffled_order

POSITIONS = (1, 4, 16, 64, 128)
"""Where ranges of positions in the window begin, by which reconstruction is measured too."""
LOSSES = ("plain", "spliced", "ablated")
"""What cross-entropy is measured of: the model as it is, with the reconstruction, with the mean."""


@dataclass(frozen=True, slots=True)
class HeldoutSettings:
    """How the text is read."""

    batch: int = 8
    """Windows in one pass of the model."""
    cross_entropy_tokens: int = 12_000
    """Tokens that cross-entropy is measured on, whole windows; it takes three passes of the whole model."""
    seed: int = 0
    """Of which windows these are."""


class HeldoutSums:
    """What was found so far. All sums are over tokens without first positions, sinks and fixed system prompts."""

    def __init__(self, d_sae: int, d_model: int, passages: int) -> None:
        ranges = len(POSITIONS)
        self.tokens = torch.zeros(ranges, dtype=torch.int64)
        """By range of positions, as the three next."""
        self.active = torch.zeros(ranges, dtype=torch.int64)
        self.squares = torch.zeros(ranges, dtype=torch.float64)
        """Of the stream."""
        self.errors = torch.zeros(ranges, dtype=torch.float64)
        """Squared."""
        self.totals = torch.zeros(ranges, d_model, dtype=torch.float64)
        """Of the stream."""
        self.predicted = torch.zeros((), dtype=torch.int64)
        """Tokens of the losses."""
        self.losses = torch.zeros(len(LOSSES), dtype=torch.float64)
        """In nats."""
        self.counts = torch.zeros(d_sae, dtype=torch.int64)
        """Tokens on which each feature is active."""
        self.activation = torch.zeros(d_sae, dtype=torch.float64)
        """Of each feature,"""
        self.on_template = torch.zeros(d_sae, dtype=torch.float64)
        """and as far as it is on tokens that the chat template wrote,"""
        self.on_first = torch.zeros(d_sae, dtype=torch.float64)
        """or on the first tokens of a turn or a document."""
        self.pooled = torch.zeros(passages, d_sae)
        """Mean activations over the tokens of each passage that nobody but its writer wrote."""
        self.pooled_stream = torch.zeros(passages, d_model)

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Goes on from a state."""
        for name in vars(self):
            setattr(self, name, tensors[name])

    def variance_explained(self, ranges: slice = slice(None)) -> float:
        """1 - squared error / variance about the mean of all tokens, over some ranges of positions."""
        mean = self.totals.sum(0) / self.tokens.sum()
        spread = self.squares - 2 * self.totals @ mean + self.tokens * mean.square().sum()
        return 1.0 - float(self.errors[ranges].sum() / spread[ranges].sum())

    def l0(self, ranges: slice = slice(None)) -> float:
        """Active features a token, over some ranges of positions."""
        return float(self.active[ranges].sum() / self.tokens[ranges].sum())


class HeldoutPass:
    """Reads one annotated text."""

    def __init__(
        self,
        settings: HeldoutSettings,
        weights: SaeWeights,
        statistics: FeatureStatistics,
        text: AnnotatedText,
        passages: Sequence[int],
    ) -> None:
        """`passages` are numbers of windows whose pooled activations are kept, in this order."""
        self._weights, self._statistics, self._text = weights, statistics, text
        self._passages = {window: row for row, window in enumerate(passages)}
        self.sums = HeldoutSums(weights.d_sae, weights.d_model, len(passages))
        order = shuffled_order(len(text.windows), settings.seed)
        sizes = np.cumsum([len(text.windows[number].tokens) for number in order])
        cut = int(np.searchsorted(sizes, settings.cross_entropy_tokens)) + 1
        self._batches = [
            (batch, loss)
            for part, loss in ((order[:cut], True), (order[cut:], False))
            for batch in text.batches(settings.batch, part)
        ]

    def run(
        self, model: HookedModel, path: Path, run: dict[str, Any], progress: Callable[[int, int], None]
    ) -> HeldoutSums:
        """Reads what is left since the state at `path`. Raises BadActivation, RunMismatch."""
        done = 0
        if kept := load_checkpoint(path, run):
            self.sums.restore(kept.tensors)
            done = kept.state["batches"]
        saved = time.monotonic()
        for number in range(done, len(self._batches)):
            progress(number, len(self._batches))
            self._read(model, *self._batches[number])
            if number + 1 == len(self._batches) or time.monotonic() - saved > SAVE_SECONDS:
                save_checkpoint(path, Checkpoint(vars(self.sums), {"batches": number + 1}), run)
                saved = time.monotonic()
        progress(len(self._batches), len(self._batches))
        return self.sums

    def _read(self, model: HookedModel, numbers: Sequence[int], loss: bool) -> None:
        windows = [self._text.windows[number] for number in numbers]
        tokens = stacked(windows, model.device)
        hidden = model.residuals(tokens).float()
        used = used_positions(windows, model.device)
        require_finite(hidden[used], model.hook_point)
        kept = without_sinks(hidden.norm(dim=-1), used, self._statistics.median_norm)
        with torch.no_grad():
            h = hidden[kept].cpu()
            f = self._weights.encode(h)
            window, position = kept.cpu().nonzero(as_tuple=True)
            self._add_reconstruction(h, f, position)
            place = torch.from_numpy(self._text.starts[list(numbers)])[window] + position
            written = torch.from_numpy(self._text.roles)[place] != TEMPLATE
            turn = torch.from_numpy(self._text.turn_positions)[place]
            self._add_places(f, written, written & (turn < FIRST_TOKENS))
            self._add_passages(numbers, h, f, window, written)
        if loss:
            self._add_losses(model, tokens, used)

    def _add_reconstruction(self, h: Tensor, f: Tensor, position: Int[Tensor, " tokens"]) -> None:
        where = torch.bucketize(position, torch.tensor(POSITIONS), right=True) - 1
        sums = self.sums
        sums.tokens += torch.bincount(where, minlength=len(POSITIONS))
        sums.active.index_add_(0, where, (f > 0).sum(1))
        sums.squares.index_add_(0, where, h.double().square().sum(1))
        sums.errors.index_add_(0, where, (h - self._weights.decode(f)).double().square().sum(1))
        sums.totals.index_add_(0, where, h.double())

    def _add_places(
        self, f: Tensor, written: Bool[Tensor, " tokens"], first: Bool[Tensor, " tokens"]
    ) -> None:
        self.sums.counts += (f > 0).sum(0)
        self.sums.activation += f.sum(0, dtype=torch.float64)
        self.sums.on_template += f[~written].sum(0, dtype=torch.float64)
        self.sums.on_first += f[first].sum(0, dtype=torch.float64)

    def _add_passages(
        self, numbers: Sequence[int], h: Tensor, f: Tensor, window: Int[Tensor, " tokens"], written: Tensor
    ) -> None:
        for place, number in enumerate(numbers):
            row = self._passages.get(number)
            its = written & (window == place)
            if row is not None and bool(its.any()):
                self.sums.pooled[row], self.sums.pooled_stream[row] = f[its].mean(0), h[its].mean(0)

    def _add_losses(self, model: HookedModel, tokens: Tensor, used: Tensor) -> None:
        """Next-token cross-entropy after used tokens: as it is, spliced, and mean-ablated at all tokens but sinks."""
        weights, statistics = self._weights.to(model.device), self._statistics

        def replaced_by(made: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
            def edit(h: Tensor) -> Tensor:
                keep = h.norm(dim=-1) > SINK_NORMS * statistics.median_norm
                keep[:, 0] = True
                return torch.where(keep[..., None], h, made(h))

            return edit

        edits = (
            None,
            replaced_by(lambda h: weights.decode(weights.encode(h))),
            replaced_by(lambda h: statistics.mean.to(h.device).expand_as(h)),
        )
        predicts = used[:, :-1] & used[:, 1:]
        self.sums.predicted += predicts.sum().cpu()
        for number, edit in enumerate(edits):
            logits = model.logits(tokens, edit)
            for row, target, which in zip(logits, tokens[:, 1:], predicts, strict=True):
                loss = torch.nn.functional.cross_entropy(
                    row[:-1][which].float(), target[which], reduction="sum"
                )
                self.sums.losses[number] += float(loss)

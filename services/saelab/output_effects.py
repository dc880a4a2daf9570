"""What nudging a feature really does to the next token: which tokens it promotes and suppresses, and how surely.

Each feature is nudged at all tokens of some short openings of sentences, and the change of every word's logit is read
after the last one. A middle block's direction is turned by the blocks above it, so that the unembedding alone (see
logit_lens.py) says little of it: here it has gone through them, the final norm and the unembedding.

A word's effect is the mean change of its logit, in nats, over the openings, above its mean over a sample of features:
nudges of any kind lower some words and raise others. The output score is how far the words that one half of the
openings chose are raised above all words in the other half, the mean of both ways: near 0 for a feature that has no
effect of its own on what comes next, whatever the text.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from services.inference.sae.base import SINK_NORMS, Sae
from services.saelab.checkpoint import SAVE_SECONDS, Checkpoint, load_checkpoint, save_checkpoint
from services.saelab.logit_lens import one_of_each_form
from services.saelab.residual import HookedModel, require_finite
from services.saelab.vocabulary import Vocabulary

OPENINGS = (
    "I was thinking about the",
    "My friend told me that",
    "It is a kind of",
    "She opened the door and saw",
    "He wrote a book about",
    "The next day they went to",
)


@dataclass(frozen=True, slots=True)
class EffectSettings:
    """How effects are measured."""

    openings: tuple[str, ...] = OPENINGS
    """Beginnings of sentences that may go on in many ways; every other one is of the same half."""
    strength: float = 0.5
    """Of the nudge, in strength units."""
    count: int = 10
    """Tokens listed."""
    baseline: int = 256
    """Features drawn for the mean effect of a feature on each word."""
    rows: int = 64
    """Features in one pass of the model."""
    seed: int = 0
    """Of that draw."""


@dataclass(frozen=True, slots=True)
class OutputEffects:
    """What each feature does. Words are numbers in the vocabulary, -1 where there are no more."""

    promoted: Int[Tensor, "features count"]
    promoted_weights: Float[Tensor, "features count"]
    """Nats."""
    suppressed: Int[Tensor, "features count"]
    suppressed_weights: Float[Tensor, "features count"]
    scores: Float[Tensor, " features"]
    """Output scores, in nats."""


@dataclass(slots=True)
class _State:
    """What was measured so far."""

    mean: Float[Tensor, "halves words"]
    done: int = 0
    parts: list[dict[str, Tensor]] = field(default_factory=list)

    def checkpoint(self) -> Checkpoint:
        names = self.parts[0] if self.parts else {}
        tensors = {name: torch.cat([part[name] for part in self.parts]) for name in names}
        self.parts = [tensors] if tensors else []
        return Checkpoint(tensors | {"mean": self.mean}, {"done": self.done})


def measure_effects(
    sae: Sae,
    vocabulary: Vocabulary,
    tokens: list[list[int]],
    settings: EffectSettings,
    model: Callable[[], HookedModel],
    path: Path,
    run: dict[str, Any],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> OutputEffects:
    """Measures all features, going on from the state at `path`. `tokens` are those of the openings.

    `model` is called only if there is something to measure. Raises BadActivation, RunMismatch.
    """
    features = sae.weights.d_sae
    stored = load_checkpoint(path, run)
    meter = _Meter(sae, vocabulary, tokens, settings, model)
    if stored is None:
        state = _State(meter.mean())
        save_checkpoint(path, state.checkpoint(), run)
    else:
        mean = stored.tensors.pop("mean")
        state = _State(mean, stored.state["done"], [stored.tensors] if stored.tensors else [])
    progress(state.done, features)
    saved = time.monotonic()
    while state.done < features:
        chosen = torch.arange(state.done, min(state.done + settings.rows, features))
        state.parts.append(_effects(meter.changes(chosen) - state.mean[:, None], vocabulary, settings.count))
        state.done += len(chosen)
        progress(state.done, features)
        if time.monotonic() - saved > SAVE_SECONDS or state.done == features:
            save_checkpoint(path, state.checkpoint(), run)
            saved = time.monotonic()
    (whole,) = state.parts
    return OutputEffects(**whole)


def _effects(
    changes: Float[Tensor, "halves features words"], vocabulary: Vocabulary, count: int
) -> dict[str, Tensor]:
    """The fields of OutputEffects for some features."""
    whole = changes.mean(0)
    found: dict[str, Tensor] = {}
    for name, promoted in (("promoted", True), ("suppressed", False)):
        words = one_of_each_form(whole, vocabulary, count, largest=promoted)
        found[name], found[f"{name}_weights"] = words, whole.gather(1, words.clamp_min(0))
    first, second = changes
    found["scores"] = (
        _held_out(first, second, vocabulary, count) + _held_out(second, first, vocabulary, count)
    ) / 2
    return found


def _held_out(
    chooses: Float[Tensor, "features words"],
    tests: Float[Tensor, "features words"],
    vocabulary: Vocabulary,
    count: int,
) -> Float[Tensor, " features"]:
    words = one_of_each_form(chooses, vocabulary, count, largest=True)
    there = words >= 0
    raised = torch.where(there, tests.gather(1, words.clamp_min(0)), 0.0).sum(1) / there.sum(1)
    return raised - tests.mean(1)


class _Meter:
    """Nudges features and reads logits."""

    def __init__(
        self,
        sae: Sae,
        vocabulary: Vocabulary,
        tokens: list[list[int]],
        settings: EffectSettings,
        model: Callable[[], HookedModel],
    ) -> None:
        assert sae.median_norm is not None
        self._settings, self._tokens, self._load = settings, tokens, model
        self._limit = SINK_NORMS * sae.median_norm
        unit = sae.strength_constant * sae.median_norm
        self._nudges = torch.nn.functional.normalize(sae.weights.W_dec, dim=1) * (settings.strength * unit)
        self._words = torch.from_numpy(vocabulary.ids)
        self._plain: list[Tensor] = []

    def mean(self) -> Float[Tensor, "halves words"]:
        """The mean change over a sample of features."""
        draw = torch.randperm(len(self._nudges), generator=torch.Generator().manual_seed(self._settings.seed))
        drawn, rows = draw[: self._settings.baseline], self._settings.rows
        parts = [self.changes(drawn[start : start + rows]) for start in range(0, len(drawn), rows)]
        return torch.cat(parts, 1).mean(1)

    def changes(self, features: Int[Tensor, " chosen"]) -> Float[Tensor, "halves chosen words"]:
        """The mean change of each word's logit over each half of the openings."""
        model = self._load()
        if not self._plain:
            self._plain = [self._logits(model, ids, None) for ids in self._tokens]
        delta = self._nudges[features][:, None].to(model.device)
        changed = [
            self._logits(model, ids, lambda h: self._nudged(h, delta)) - plain
            for ids, plain in zip(self._tokens, self._plain, strict=True)
        ]
        require_finite(torch.stack(changed), "the output, under a nudge,")
        return torch.stack([torch.stack(changed[half::2]).mean(0) for half in (0, 1)])

    def _logits(
        self, model: HookedModel, ids: list[int], edit: Callable[[Tensor], Tensor] | None
    ) -> Float[Tensor, "rows words"]:
        logits = model.next_logits(torch.tensor([ids], device=model.device), edit)
        return logits.float().cpu()[:, self._words]

    def _nudged(self, h: Float[Tensor, "1 length d_model"], delta: Tensor) -> Tensor:
        """One row for each nudge; the first position and other sinks are left alone."""
        spared = h.norm(dim=-1, keepdim=True) > self._limit
        spared[:, 0] = True
        return torch.where(spared, h, h + delta)

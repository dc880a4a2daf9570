"""Measuring an SAE on documents it was never trained on; every number of the model card comes from here."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from services.inference.sae.base import SINK_NORMS, Sae, SaeWeights
from services.inference.sae.formats import load_sae
from services.inference.sae.write_saelens import write_saelens
from services.saelab.activations import load_tokenizer
from services.saelab.documents import HELDOUT, read_documents
from services.saelab.errors import CorpusError
from services.saelab.reference import FeatureStatistics, feature_statistics
from services.saelab.residual import HookedModel, require_finite, stacked, used_positions, without_sinks
from services.saelab.shards import ShardFolder
from services.saelab.windows import Window, Windower, padded_batches, shuffled

METRICS = "metrics.json"


@dataclass(frozen=True, slots=True)
class EvaluateSettings:
    """What to measure, and on how much."""

    sae: Path
    """Folder of the SAE; metrics.json and the feature statistics are written there."""
    corpus: Path
    """Folder of the corpus; its held-out part is read."""
    activations: Path
    """Folder of the shards: the reference corpus of densities and activation scales."""
    model: str
    """Hub id, or folder of a Hugging Face checkpoint."""
    window: int = 256
    """Longest run of tokens that the model reads at once."""
    batch: int = 8
    """Windows in one pass of the model."""
    cross_entropy_tokens: int = 12_000
    """Tokens of each kind of text that cross-entropy is measured on; it takes three passes of the whole model."""
    reference_tokens: int = 2_000_000
    """Tokens of the shards that feature statistics are made from, at most."""
    seed: int = 0
    """Of the order of windows."""
    device: str = "cpu"
    """Where the model computes: cpu, cuda."""
    threads: int = 2
    """CPU threads."""


@dataclass(frozen=True, slots=True)
class TextMetrics:
    """How well the SAE reconstructs one kind of held-out text."""

    documents: int
    tokens: int
    """Without first positions, sinks and fixed system prompts."""
    variance_explained: float
    """1 - squared error / variance about these tokens' mean, summed over tokens."""
    l0: float
    """Active features a token."""
    cross_entropy_tokens: int
    cross_entropy: float
    """Of the model as it is, in nats a token."""
    cross_entropy_spliced: float
    """With the reconstruction in place of the residual stream at all tokens but sinks."""
    cross_entropy_ablated: float
    """With the mean of the residual stream there."""

    @property
    def loss_recovered(self) -> float:
        """Share of what mean ablation loses that the reconstruction keeps."""
        lost = self.cross_entropy_ablated - self.cross_entropy
        return (self.cross_entropy_ablated - self.cross_entropy_spliced) / lost


@dataclass(frozen=True, slots=True)
class DictionaryMetrics:
    """What the dictionary is like, over the reference corpus."""

    features: int
    reference_tokens: int
    dead: float
    """Share of features that are never active."""
    dense: float
    """Share of features that are active on over 10 % of tokens."""
    median_density: float
    decoder_cosine_median: float
    """Median over features of the cosine with the nearest other decoder direction."""
    decoder_cosine_above_07: float
    """Share of features with another within a cosine of 0.7."""
    median_norm: float
    """Median norm of the residual stream."""


Progress = Callable[[str, int, int], None]
"""Called with what is measured, and how much of how many steps is done."""


def evaluate(
    settings: EvaluateSettings,
    model: HookedModel | None = None,
    tokenizer: Any = None,
    progress: Progress = lambda what, done, total: None,
) -> dict[str, Any]:
    """Measures the SAE, writes metrics.json, puts scales, median norm and key numbers into its side file.

    `model` and `tokenizer` are loaded unless given. Raises CorpusError, HookPointError, BadActivation.
    """
    torch.set_num_threads(settings.threads)
    sae = load_sae(settings.sae)
    progress("feature statistics", 0, 1)
    with torch.no_grad():
        statistics = feature_statistics(sae, ShardFolder(settings.activations), settings.reference_tokens)
    progress("feature statistics", 1, 1)
    model = model or HookedModel.load(settings.model, sae.hook_point, settings.device)
    windower = Windower(tokenizer or load_tokenizer(settings.model), settings.window)
    documents = list(read_documents(settings.corpus / HELDOUT))
    found: dict[str, Any] = {}
    for kind, chat in (("plain", False), ("chat", True)):
        chosen = [document for document in documents if document.is_chat == chat]
        windows = shuffled(list(windower.windows(chosen)), settings.seed)
        if not windows:
            continue
        measured = _measure(settings, sae.weights, model, windows, statistics, kind, progress)
        metrics = TextMetrics(documents=len(chosen), **measured)
        found[kind] = asdict(metrics) | {"loss_recovered": metrics.loss_recovered}
    if "plain" not in found:
        raise CorpusError(f"the corpus at {settings.corpus} holds out no plain text")
    found["dictionary"] = asdict(dictionary_metrics(sae.weights, statistics))
    (settings.sae / METRICS).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    _store(settings.sae, sae, statistics, found)
    return found


def dictionary_metrics(weights: SaeWeights, statistics: FeatureStatistics) -> DictionaryMetrics:
    """Dead, dense and redundant features."""
    directions = torch.nn.functional.normalize(weights.W_dec, dim=1)
    nearest = torch.cat([_nearest(directions, start) for start in range(0, len(directions), 512)])
    return DictionaryMetrics(
        features=weights.d_sae,
        reference_tokens=statistics.tokens,
        dead=float((statistics.density == 0).float().mean()),
        dense=float((statistics.density > 0.1).float().mean()),
        median_density=float(statistics.density.median()),
        decoder_cosine_median=float(nearest.median()),
        decoder_cosine_above_07=float((nearest > 0.7).float().mean()),
        median_norm=statistics.median_norm,
    )


def _nearest(directions: Tensor, start: int) -> Tensor:
    rows = directions[start : start + 512]
    cosines = rows @ directions.T
    own = torch.arange(len(rows))
    cosines[own, own + start] = -1.0
    return cosines.max(1).values


class _Tally:
    """Sums over tokens, in float64."""

    def __init__(self, d_model: int) -> None:
        self.tokens, self.squares, self.errors, self.active = 0, 0.0, 0.0, 0
        self.sum = torch.zeros(d_model, dtype=torch.float64)
        self.predicted = 0
        self.losses = {"plain": 0.0, "spliced": 0.0, "ablated": 0.0}

    def add(self, weights: SaeWeights, h: Float[Tensor, "tokens d_model"]) -> None:
        f = weights.encode(h)
        self.tokens += len(h)
        self.squares += float(h.double().square().sum())
        self.sum += h.sum(0, dtype=torch.float64).cpu()
        self.errors += float((h - weights.decode(f)).double().square().sum())
        self.active += int((f > 0).sum())

    @property
    def variance_explained(self) -> float:
        return 1.0 - self.errors / (self.squares - float(self.sum.square().sum()) / self.tokens)


def _measure(
    settings: EvaluateSettings,
    weights: SaeWeights,
    model: HookedModel,
    windows: list[Window],
    statistics: FeatureStatistics,
    kind: str,
    progress: Progress,
) -> dict[str, Any]:
    """TextMetrics' numbers but for the documents. Whole windows are used until there are enough for cross-entropy."""
    tally = _Tally(weights.d_model)
    with_loss = 0
    total = 0
    while with_loss < len(windows) and total < settings.cross_entropy_tokens:
        total += len(windows[with_loss].tokens)
        with_loss += 1
    parts = [(windows[:with_loss], True), (windows[with_loss:], False)]
    batches = [(batch, loss) for part, loss in parts for batch in padded_batches(part, settings.batch)]
    for done, (batch, loss) in enumerate(batches):
        progress(f"{kind} text", done, len(batches))
        tokens = stacked(batch, model.device)
        hidden = model.residuals(tokens).float()
        used = used_positions(batch, model.device)
        require_finite(hidden[used], model.hook_point)
        norms = hidden.norm(dim=-1)
        with torch.no_grad():
            tally.add(weights, hidden[without_sinks(norms, used, statistics.median_norm)])
        if loss:
            _add_losses(tally, weights, model, tokens, used, statistics)
    progress(f"{kind} text", len(batches), len(batches))
    return {
        "tokens": tally.tokens,
        "variance_explained": tally.variance_explained,
        "l0": tally.active / tally.tokens,
        "cross_entropy_tokens": tally.predicted,
        "cross_entropy": tally.losses["plain"] / tally.predicted,
        "cross_entropy_spliced": tally.losses["spliced"] / tally.predicted,
        "cross_entropy_ablated": tally.losses["ablated"] / tally.predicted,
    }


def _add_losses(
    tally: _Tally,
    weights: SaeWeights,
    model: HookedModel,
    tokens: Tensor,
    used: Tensor,
    statistics: FeatureStatistics,
) -> None:
    """Next-token cross-entropy after used tokens: as it is, spliced, and mean-ablated at all tokens but sinks."""

    def replaced_by(made: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def edit(h: Tensor) -> Tensor:
            keep = h.norm(dim=-1) > SINK_NORMS * statistics.median_norm
            keep[:, 0] = True
            return torch.where(keep[..., None], h, made(h))

        return edit

    edits = {
        "plain": None,
        "spliced": replaced_by(lambda h: weights.decode(weights.encode(h))),
        "ablated": replaced_by(lambda h: statistics.mean.to(h.device).expand_as(h)),
    }
    predicts = used[:, :-1] & used[:, 1:]
    tally.predicted += int(predicts.sum())
    for name, edit in edits.items():
        logits = model.logits(tokens, edit)
        for row, target, which in zip(logits, tokens[:, 1:], predicts, strict=True):
            loss = torch.nn.functional.cross_entropy(row[:-1][which].float(), target[which], reduction="sum")
            tally.losses[name] += float(loss)


def _store(folder: Path, sae: Sae, statistics: FeatureStatistics, found: dict[str, Any]) -> None:
    plain = found["plain"]
    card = sae.card | {
        "variance_explained": plain["variance_explained"],
        "l0": plain["l0"],
        "loss_recovered": plain["loss_recovered"],
        "dead": found["dictionary"]["dead"],
        "dense": found["dictionary"]["dense"],
    }
    write_saelens(
        folder, replace(sae, scales=statistics.scales, median_norm=statistics.median_norm, card=card)
    )

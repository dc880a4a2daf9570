"""Measuring an SAE on documents it was never trained on; every number of the model card comes from here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from services.inference.load import model_folder
from services.inference.sae.base import Sae
from services.inference.sae.formats import load_sae
from services.inference.sae.sidefile import write_side_file
from services.inference.tokenizer import Tokenizer
from services.saelab.annotated import AnnotatedText, annotate
from services.saelab.dictionary import (
    DictionaryMetrics,
    densest_features,
    density_histogram,
    dictionary_metrics,
    nearest_patterns,
)
from services.saelab.documents import HELDOUT, Document, read_documents
from services.saelab.errors import CorpusError
from services.saelab.evaluation_report import METRICS, write_evaluation
from services.saelab.heldout import LOSSES, POSITIONS, HeldoutPass, HeldoutSettings, HeldoutSums
from services.saelab.outputs import told_if_full, write_json
from services.saelab.passages import Passages, probe_results
from services.saelab.places import place_metrics
from services.saelab.probing import PROBES, chosen_passages, read_probes
from services.saelab.reference import FeatureStatistics, feature_statistics
from services.saelab.residual import HookedModel
from services.saelab.shards import ShardFolder


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
    work: Path
    """Folder of the state by which a killed evaluation goes on; emptied of it at the end."""
    window: int = 256
    """Longest run of tokens that the model reads at once."""
    heldout: HeldoutSettings = field(default_factory=HeldoutSettings)
    reference_tokens: int = 2_000_000
    """Tokens of the shards that feature statistics are made from, at most."""
    coactivation_tokens: int = 200_000
    """Of them, those that co-activation is measured on."""
    probes: Path = PROBES
    """Labelled sets for sparse probing."""
    passages: int = 8
    """Windows of a document that a probe sees, at most."""
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
    by_position: tuple[dict[str, float], ...]
    """For ranges of positions in the window: where it begins, tokens, variance explained, L0."""

    @property
    def loss_recovered(self) -> float:
        """Share of what mean ablation loses that the reconstruction keeps."""
        lost = self.cross_entropy_ablated - self.cross_entropy
        return (self.cross_entropy_ablated - self.cross_entropy_spliced) / lost

    @classmethod
    def of(cls, documents: int, sums: HeldoutSums) -> TextMetrics:
        """From the sums over so many documents."""
        ranges = [
            {
                "from": start,
                "tokens": int(sums.tokens[number]),
                "variance_explained": sums.variance_explained(slice(number, number + 1)),
                "l0": sums.l0(slice(number, number + 1)),
            }
            for number, start in enumerate(POSITIONS)
            if sums.tokens[number]
        ]
        losses = dict(zip(LOSSES, (sums.losses / sums.predicted).tolist(), strict=True))
        return cls(
            documents,
            int(sums.tokens.sum()),
            sums.variance_explained(),
            sums.l0(),
            int(sums.predicted),
            losses["plain"],
            losses["spliced"],
            losses["ablated"],
            tuple(ranges),
        )


Progress = Callable[[str, int, int], None]
"""Called with what is measured, and how much of how many steps is done."""


def evaluate(
    settings: EvaluateSettings, progress: Progress = lambda what, done, total: None
) -> dict[str, Any]:
    """Measures the SAE; writes metrics.json, evaluation.md and its plots, puts scales, median norm and key numbers into
    its side file.

    Raises CorpusError, CorruptShard, HookPointError, BadActivation, SaeLabError.
    """
    torch.set_num_threads(settings.threads)
    sae = load_sae(settings.sae)
    evaluation = _Evaluation(settings, sae, progress)
    found = evaluation.run()
    write_json(settings.sae / METRICS, found)
    _store(settings.sae, sae, evaluation.statistics, found)
    write_evaluation(settings.sae, sae.id, found)
    evaluation.clear()
    return found


class _Evaluation:
    """One evaluation; what takes long leaves its state in the work folder."""

    def __init__(self, settings: EvaluateSettings, sae: Sae, progress: Progress) -> None:
        self._settings, self._sae, self._progress = settings, sae, progress
        self._states: list[Path] = []
        self._shards = ShardFolder(settings.activations)
        self._probes = read_probes(settings.probes)
        self._documents = list(read_documents(settings.corpus / HELDOUT))
        if all(document.is_chat for document in self._documents):
            raise CorpusError(f"the corpus at {settings.corpus} holds out no plain text")
        settings.work.mkdir(parents=True, exist_ok=True)
        self.statistics = feature_statistics(
            sae,
            self._shards,
            settings.reference_tokens,
            self._state("reference", {"shards": self._shards.first(settings.reference_tokens)}),
            lambda done, total: progress("feature statistics", done, total),
        )

    def run(self) -> dict[str, Any]:
        """All numbers."""
        settings, sae = self._settings, self._sae
        model = HookedModel.load(settings.model, sae.hook_point, settings.device)
        tokenizer = Tokenizer(model_folder(settings.model))
        found: dict[str, Any] = {}
        read: list[tuple[HeldoutSums, Passages]] = []
        for kind, chat in (("plain", False), ("chat", True)):
            documents = [document for document in self._documents if document.is_chat == chat]
            if not documents:
                continue
            sums, passages = self._read(kind, model, tokenizer, documents)
            metrics = TextMetrics.of(len(documents), sums)
            found[kind] = asdict(metrics) | {"loss_recovered": metrics.loss_recovered}
            read.append((sums, passages))
        found["dictionary"] = asdict(self._dictionary())
        found["places"] = asdict(
            place_metrics(
                sum(int(sums.tokens.sum()) for sums, _ in read),
                *(sum(getattr(sums, name) for sums, _ in read) for name in _PLACES),
            )
        )
        self._progress("probes", 0, 1)
        own = Passages.of_sentences(self._probes, sae, model, tokenizer.plain, self.statistics.median_norm)
        results = probe_results(self._probes, Passages.together([*(some for _, some in read), own]))
        found["probes"] = [asdict(result) for result in results]
        self._progress("probes", 1, 1)
        return found | self._figures()

    def _read(
        self, kind: str, model: HookedModel, tokenizer: Tokenizer, documents: Sequence[Document]
    ) -> tuple[HeldoutSums, Passages]:
        settings = self._settings
        text = annotate(documents, tokenizer, settings.window, _EVERYTHING)
        passages = self._passages(text, documents)
        reading = HeldoutPass(settings.heldout, self._sae.weights, self.statistics, text, passages)
        run: dict[str, Any] = asdict(settings.heldout)
        run |= {"kind": kind, "text": hashlib.sha256(text.tokens.tobytes()).hexdigest(), "passages": passages}
        run |= {"median_norm": self.statistics.median_norm, "model": settings.model}
        sums = reading.run(
            model,
            self._state(kind, run),
            run,
            lambda done, total: self._progress(f"{kind} text", done, total),
        )
        owners = [documents[int(text.documents[text.starts[window]])] for window in passages]
        return sums, Passages.of_documents(owners, sums)

    def _passages(self, text: AnnotatedText, documents: Sequence[Document]) -> list[int]:
        owners = text.documents[text.starts].tolist()
        lengths = [len(window.tokens) for window in text.windows]
        return chosen_passages(self._probes, documents, owners, lengths, self._settings.passages)

    def _dictionary(self) -> DictionaryMetrics:
        self._progress("co-activation", 0, 1)
        patterns, tokens = nearest_patterns(self._sae, self._shards, self._settings.coactivation_tokens)
        self._progress("co-activation", 1, 1)
        return dictionary_metrics(self._sae, self.statistics, patterns, tokens)

    def _figures(self) -> dict[str, Any]:
        """What plots are drawn from, beside the other numbers."""
        return {
            "densities": density_histogram(self.statistics),
            "densest": densest_features(self._sae, self.statistics, self._shards),
        }

    def _state(self, name: str, run: dict[str, Any]) -> Path:
        """Where a stage's state is kept: other settings are another file."""
        key = json.dumps(run | {"weights": self._sae.weights_digest}, sort_keys=True)
        path = self._settings.work / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.safetensors"
        self._states.append(path)
        return path

    def clear(self) -> None:
        """Removes the state."""
        for path in self._states:
            path.unlink(missing_ok=True)


_EVERYTHING = 1 << 62
_PLACES = ("counts", "activation", "on_template", "on_first")


def _store(folder: Path, sae: Sae, statistics: FeatureStatistics, found: dict[str, Any]) -> None:
    plain = found["plain"]
    card = sae.card | {
        "variance_explained": plain["variance_explained"],
        "l0": plain["l0"],
        "loss_recovered": plain["loss_recovered"],
        "dead": found["dictionary"]["dead"],
        "dense": found["dictionary"]["dense"],
    }
    known = replace(sae, scales=statistics.scales, median_norm=statistics.median_norm, card=card)
    with told_if_full(folder):
        write_side_file(folder, known)

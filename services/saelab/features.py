"""Everything that is known of an SAE's features, from the shards, a text and the model to features.parquet.

Stages, each with a file of its own in the run's folder: a killed one goes on, a finished one is not done again.

1. statistics: density, histogram, co-activation, from the shards (activation_statistics.py)
2. examples: where features are active in the text that the model wrote itself (activating.py)
3. output: what a nudge does to the next token (output_effects.py)
4. steerability: what nudges do to texts (steerability.py)

Then the rows are put together (feature_assembly.py). Stages 3 and 4 may be left out; what an earlier run of them left
in the folder is used all the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from services.inference.load import model_folder
from services.inference.sae.base import Sae
from services.inference.sae.formats import load_sae
from services.inference.tokenizer import Tokenizer
from services.saelab.activating import Activating, ActivatingSettings, find_activating
from services.saelab.activation_statistics import ActivationStatistics, StatisticsSettings, collect_statistics
from services.saelab.annotated import AnnotatedText, annotate
from services.saelab.documents import TRAIN, Document, read_documents
from services.saelab.errors import CorpusError, SaeLabError
from services.saelab.examples import ExampleSettings
from services.saelab.output_effects import EffectSettings, OutputEffects, measure_effects
from services.saelab.residual import HookedModel
from services.saelab.shards import ShardFolder
from services.saelab.steerability import SteerabilitySettings, Steered, measure_steerability
from services.saelab.vocabulary import Spelling, Vocabulary, vocabulary

COUNTED_CHARACTERS = 4_000_000
"""So much of the training corpus is read to count words, at most."""


class Stage(StrEnum):
    """What is measured, in this order."""

    STATISTICS = "statistics"
    EXAMPLES = "examples"
    OUTPUT = "output"
    STEERABILITY = "steerability"


OPTIONAL = frozenset({Stage.OUTPUT, Stage.STEERABILITY})
"""Stages that may be left out."""


@dataclass(frozen=True, slots=True)
class FeatureSettings:
    """What to measure, and on what."""

    sae: Path
    """Folder of the SAE, evaluated already: median norm and scales are needed. features.parquet is written there."""
    text: Path
    """JSON lines of documents that the model wrote itself: examples come from these alone."""
    model: str
    """Hub id, or folder of a Hugging Face checkpoint."""
    run: Path
    """Folder of the stages' files."""
    statistics: StatisticsSettings
    corpus: Path | None = None
    """Folder of the training corpus, where there is one: only words are counted in it."""
    tokens: int = 1_000_000
    """Tokens of the text that are read, at most."""
    window: int = 256
    """Longest run of tokens that the model reads at once."""
    activating: ActivatingSettings = field(default_factory=ActivatingSettings)
    examples: ExampleSettings = field(default_factory=ExampleSettings)
    effects: EffectSettings = field(default_factory=EffectSettings)
    steerability: SteerabilitySettings = field(default_factory=SteerabilitySettings)
    without: frozenset[Stage] = frozenset()
    """Stages that are not run."""
    sample: int | None = None
    """Steerability is measured for so many features drawn at random; None for all that are live."""
    neighbors: int = 8
    """Decoder neighbours of a feature."""
    device: str = "cpu"
    """Where the model computes: cpu, cuda."""
    threads: int = 2
    """CPU threads."""
    seed: int = 0
    """Of the order in which features are steered."""


Progress = Callable[[Stage, int, int], None]
"""Called with the stage, and how much of how many steps is done."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What the stages found."""

    statistics: ActivationStatistics
    activating: Activating
    effects: OutputEffects | None
    steered: dict[int, Steered]
    """By feature; empty where not measured."""
    runs: dict[str, dict[str, Any]]
    """What decides the result of each stage that was run."""

    @property
    def live(self) -> torch.Tensor:
        """Whether each feature is ever active in the reference corpus."""
        return self.statistics.counts > 0


class Bench:
    """The SAE, the model and the text, each loaded when it is first needed."""

    def __init__(self, settings: FeatureSettings) -> None:
        self.settings = settings
        self.sae: Sae = load_sae(settings.sae)
        if self.sae.median_norm is None or self.sae.scales is None:
            raise SaeLabError(f"{settings.sae} has no activation scales yet: run `hearth sae evaluate` first")
        if not settings.text.is_file():
            raise CorpusError(f"no text at {settings.text}: let the model write some with `hearth sae write`")

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        return Tokenizer(model_folder(self.settings.model))

    @cached_property
    def spelling(self) -> Spelling:
        """How its tokens make words."""
        return Spelling.of(self.tokenizer)

    @cached_property
    def model(self) -> HookedModel:
        """The model up to the hook point, and above."""
        return HookedModel.load(self.settings.model, self.sae.hook_point, self.settings.device)

    @cached_property
    def text(self) -> AnnotatedText:
        """The self-written text."""
        documents = read_documents(self.settings.text)
        return annotate(documents, self.tokenizer, self.settings.window, self.settings.tokens)

    @cached_property
    def text_digest(self) -> str:
        """SHA-256 of the file of the text."""
        return hashlib.sha256(self.settings.text.read_bytes()).hexdigest()

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The words of the text and the training corpus."""

        def rows() -> Iterator[Int[np.ndarray, " tokens"]]:
            yield self.text.tokens
            for document in self._counted():
                written = document.text or "\n".join(message.content for message in document.messages)
                yield np.array(self.tokenizer.plain(written, add_special_tokens=False).input_ids, np.int64)

        return vocabulary(rows(), self.spelling)

    def _counted(self) -> Iterator[Document]:
        corpus = self.settings.corpus
        if corpus is None or not (corpus / TRAIN).is_file():
            return
        documents = list(read_documents(corpus / TRAIN))
        step = max(1, sum(document.characters for document in documents) // COUNTED_CHARACTERS)
        yield from documents[::step]

    def common(self) -> dict[str, Any]:
        """What decides the result of every stage."""
        assert self.sae.scales is not None
        scales = hashlib.sha256(self.sae.scales.float().numpy().tobytes()).hexdigest()
        unit = {"median_norm": self.sae.median_norm, "strength_constant": self.sae.strength_constant}
        return {"weights": self.sae.weights_digest, "scales": scales, **unit}


def measure(bench: Bench, progress: Progress = lambda stage, done, total: None) -> Measured:
    """Runs what is missing of the stages, in order.

    Raises SaeLabError, or one of its kinds, that says what to do: no shards, other settings in the run's folder, a
    wrong hook point, NaN, a full disk.
    """
    settings, sae, common = bench.settings, bench.sae, bench.common()
    torch.set_num_threads(settings.threads)
    settings.run.mkdir(parents=True, exist_ok=True)
    runs: dict[str, dict[str, Any]] = {}

    def path(stage: Stage, ending: str = ".safetensors") -> Path:
        return settings.run / f"{stage}{ending}"

    def wanted(stage: Stage, ending: str = ".safetensors") -> bool:
        return stage not in settings.without or path(stage, ending).exists()

    def steps(stage: Stage) -> Callable[[int, int], None]:
        return lambda done, total: progress(stage, done, total)

    shards = ShardFolder(settings.statistics.activations).run()
    read = {key: value for key, value in asdict(settings.statistics).items() if key != "activations"}
    # A run of shards grows with its `tokens`: the same shards, and more of them.
    runs[Stage.STATISTICS] = common | read | {"shards": {k: v for k, v in shards.items() if k != "tokens"}}
    statistics = collect_statistics(
        sae,
        settings.statistics,
        path(Stage.STATISTICS),
        runs[Stage.STATISTICS],
        steps(Stage.STATISTICS),
    )

    runs[Stage.EXAMPLES] = common | asdict(settings.activating)
    runs[Stage.EXAMPLES] |= {
        "model": settings.model,
        "text": bench.text_digest,
        "tokens": settings.tokens,
        "window": settings.window,
    }
    activating = find_activating(
        sae,
        bench.text,
        settings.activating,
        lambda: bench.model,
        path(Stage.EXAMPLES),
        runs[Stage.EXAMPLES],
        steps(Stage.EXAMPLES),
    )

    effects = None
    if wanted(Stage.OUTPUT):
        words = hashlib.sha256(bench.vocabulary.ids.astype(np.int64).tobytes()).hexdigest()
        runs[Stage.OUTPUT] = _plain(
            common | asdict(settings.effects) | {"model": settings.model, "words": words}
        )
        effects = measure_effects(
            sae,
            bench.vocabulary,
            [bench.tokenizer.encode_text(opening) for opening in settings.effects.openings],
            settings.effects,
            lambda: bench.model,
            path(Stage.OUTPUT),
            runs[Stage.OUTPUT],
            steps(Stage.OUTPUT),
        )

    steered: dict[int, Steered] = {}
    if wanted(Stage.STEERABILITY, ".jsonl"):
        runs[Stage.STEERABILITY] = _plain(
            common | asdict(settings.steerability) | {"model": settings.model, "seed": settings.seed}
        )
        steered = measure_steerability(
            sae,
            settings.sae,
            settings.model,
            [] if Stage.STEERABILITY in settings.without else _steered_order(settings, statistics),
            settings.steerability,
            lambda: bench.model,
            path(Stage.STEERABILITY, ".jsonl"),
            runs[Stage.STEERABILITY],
            threads=settings.threads,
            device=settings.device,
            progress=steps(Stage.STEERABILITY),
        )
    return Measured(statistics, activating, effects, steered, runs)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """As JSON reads it back; how many rows are computed side by side does not count."""

    kept: dict[str, Any] = json.loads(
        json.dumps({key: value for key, value in values.items() if key != "rows"})
    )
    return kept


def _steered_order(settings: FeatureSettings, statistics: ActivationStatistics) -> list[int]:
    """The live features in a random order, so that a run that is cut short has a fair sample."""
    order = torch.randperm(len(statistics.counts), generator=torch.Generator().manual_seed(settings.seed))
    live = [feature for feature in order.tolist() if statistics.counts[feature] > 0]
    return live if settings.sample is None else live[: settings.sample]

"""Everything that is known of an SAE's features, from the shards, a text and the model to features.parquet.

Stages, each with a file of its own in the run's folder: a killed one goes on, a finished one is not done again.

1. statistics: density, histogram, co-activation, from the shards (activation_statistics.py)
2. examples: where features are active in the text that the model wrote itself (activating.py)
3. classes: where they are in some of the training corpus, which has more kinds of text; none of it is shown
4. output: what a nudge does to the next token (output_effects.py)
5. steerability: what nudges do to texts (steerability.py)

Then the rows are put together (feature_assembly.py). Stages 3 to 5 may be left out; what an earlier run of them left
in the folder is used all the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from services.saelab.activating import Activating, ActivatingSettings, find_activating
from services.saelab.activation_statistics import ActivationStatistics, collect_statistics
from services.saelab.annotated import AnnotatedText
from services.saelab.feature_bench import Bench, FeatureSettings, Stage
from services.saelab.output_effects import OutputEffects, measure_effects
from services.saelab.shards import ShardFolder
from services.saelab.steerability import Steered, measure_steerability

CLASS_KEPT = ActivatingSettings(top=36, sample=1, before=0, after=0)
"""Of the corpus nothing but the tokens of the largest activations is kept."""
Progress = Callable[[Stage, int, int], None]
"""Called with the stage, and how much of how many steps is done."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What the stages found."""

    statistics: ActivationStatistics
    activating: Activating
    """In the self-written text."""
    elsewhere: Activating | None
    """In the corpus."""
    effects: OutputEffects | None
    steered: dict[int, Steered]
    """By feature; empty where not measured."""
    runs: dict[str, dict[str, Any]]
    """What decides the result of each stage that was run."""

    @property
    def live(self) -> torch.Tensor:
        """Whether each feature is ever active in the reference corpus."""
        return self.statistics.counts > 0


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

    def active_in(stage: Stage, text: AnnotatedText, digest: str, kept: ActivatingSettings) -> Activating:
        reads = {
            "model": settings.model,
            "text": digest,
            "tokens": len(text.tokens),
            "window": settings.window,
        }
        runs[stage] = common | asdict(kept) | reads
        return find_activating(sae, text, kept, lambda: bench.model, path(stage), runs[stage], steps(stage))

    activating = active_in(Stage.EXAMPLES, bench.text, bench.text_digest, settings.activating)
    elsewhere = None
    if bench.has_corpus and wanted(Stage.CLASSES):
        text = bench.corpus_text
        digest = hashlib.sha256(text.tokens.tobytes()).hexdigest()
        elsewhere = active_in(Stage.CLASSES, text, digest, CLASS_KEPT)

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
    return Measured(statistics, activating, elsewhere, effects, steered, runs)


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

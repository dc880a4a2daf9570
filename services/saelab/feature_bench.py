"""What `hearth sae features` works on: its settings, and the SAE, model and texts, each loaded when first needed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field
from enum import StrEnum
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from services.inference.load import model_folder
from services.inference.sae.base import Sae
from services.inference.sae.formats import load_sae
from services.inference.tokenizer import Tokenizer
from services.saelab.activating import ActivatingSettings
from services.saelab.activation_statistics import StatisticsSettings
from services.saelab.annotated import AnnotatedText, annotate
from services.saelab.documents import TRAIN, Document, read_documents
from services.saelab.errors import CorpusError, SaeLabError
from services.saelab.examples import ExampleSettings
from services.saelab.output_effects import EffectSettings
from services.saelab.residual import HookedModel
from services.saelab.steerability import SteerabilitySettings
from services.saelab.vocabulary import Spelling, Vocabulary, vocabulary

COUNTED_CHARACTERS = 4_000_000
"""So much of the training corpus is read to count words, about."""
_CHARACTERS = 4
"""Of a token, about."""


class Stage(StrEnum):
    """What is measured, in this order."""

    STATISTICS = "statistics"
    EXAMPLES = "examples"
    CLASSES = "classes"
    OUTPUT = "output"
    STEERABILITY = "steerability"


OPTIONAL = frozenset({Stage.CLASSES, Stage.OUTPUT, Stage.STEERABILITY})
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
    """Folder of the training corpus, where there is one: words are counted in it, and classes told by it."""
    _: KW_ONLY
    corpus_tokens: int = 150_000
    """Tokens of the corpus that classes are told by, about: documents evenly from all of it."""
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
        if self.has_corpus:
            yield from self._corpus_documents(COUNTED_CHARACTERS)

    @property
    def has_corpus(self) -> bool:
        """Whether there is a training corpus."""
        return self.settings.corpus is not None and (self.settings.corpus / TRAIN).is_file()

    @cached_property
    def corpus_text(self) -> AnnotatedText:
        """Some of the training corpus."""
        documents = self._corpus_documents(self.settings.corpus_tokens * _CHARACTERS)
        return annotate(documents, self.tokenizer, self.settings.window, self.settings.corpus_tokens)

    def _corpus_documents(self, characters: int) -> Iterator[Document]:
        """Documents evenly from the whole training corpus, about so much of it."""
        assert self.settings.corpus is not None
        path = self.settings.corpus / TRAIN
        step = max(1, path.stat().st_size // characters)
        yield from islice(read_documents(path), 0, None, step)

    def common(self) -> dict[str, Any]:
        """What decides the result of every stage."""
        assert self.sae.scales is not None
        scales = hashlib.sha256(self.sae.scales.float().numpy().tobytes()).hexdigest()
        unit = {"median_norm": self.sae.median_norm, "strength_constant": self.sae.strength_constant}
        return {"weights": self.sae.weights_digest, "scales": scales, **unit}

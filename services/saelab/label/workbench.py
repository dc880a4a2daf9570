"""What every step of labelling works with: the features, the texts as they were read, and their embeddings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from services.encoder.minilm import Encode, ensure_minilm, load_encoder
from services.inference.sae.base import Sae
from services.inference.sae.formats import load_sae
from services.saelab import feature_table
from services.saelab.errors import TableError
from services.saelab.feature_rows import FeatureRow
from services.saelab.label.atoms import AtomIndex
from services.saelab.label.contexts import Contexts, Sample, SampleSizes, cut, draw
from services.saelab.label.embedder import Embedder
from services.saelab.label.firings import Firings, FiringsSettings, collect_firings
from services.saelab.label.reading import Reading, read_units

_NEIGHBORS = 5
"""Of each kind of neighbour, so many give hard negatives."""
Progress = Callable[[str, int, int], None]
"""Called with what is being done, and how much of how many is."""


@dataclass(frozen=True, slots=True)
class LabelSettings:
    """What labels are made from and tested on."""

    sae: Path
    """Folder of the SAE with its feature table."""
    texts: tuple[Path, ...]
    """JSON lines of documents: text that the model wrote itself, a corpus."""
    work: Path
    """Folder of what is collected on the way, for this SAE alone."""
    vectors: Path
    """Folder of the embeddings, which depend on the texts alone."""
    model: str
    """Hub id, or folder of the checkpoint that the SAE is of."""
    tokens: int = 600_000
    """Tokens of the texts that are read, at most."""
    sizes: SampleSizes = field(default_factory=SampleSizes)
    """Contexts by which a label is told right or wrong."""
    seed: int = 0
    """Of the contexts drawn."""
    device: str = "cpu"
    """Where the model computes: cpu, cuda."""
    threads: int = 2
    """CPU threads."""

    def run(self) -> dict[str, Any]:
        """What must be the same for labels to be gone on with, beside the SAE."""
        sizes = self.sizes
        return {
            "tokens": self.tokens,
            "contexts": [sizes.active, sizes.silent, sizes.hard_share],
            "seed": self.seed,
        }


class Workbench:
    """All of it; the costly parts are made when first asked for, and kept on disk."""

    def __init__(
        self,
        settings: LabelSettings,
        progress: Progress = lambda what, done, total: None,
        load: Callable[[], Encode] | None = None,
    ) -> None:
        """`load` gives the sentence encoder; MiniLM unless set.

        Raises TableError where the features are of another SAE.
        """
        self.settings, self._progress = settings, progress
        self.sae: Sae = load_sae(settings.sae)
        table = feature_table.read(settings.sae)
        if table.info.weights_digest != self.sae.weights_digest:
            raise TableError(
                f"{table.path} is about another SAE than the weights beside it: run `hearth sae features` again"
            )
        self.rows: list[FeatureRow] = list(
            table.rows(columns=("promoted", "decoder_neighbors", "coactivation_neighbors"))
        )
        self.embedder = Embedder(settings.vectors, load or self._load_encoder)

    def _load_encoder(self) -> Encode:
        return load_encoder(ensure_minilm(), self.settings.threads, self.settings.device)

    @cached_property
    def firings(self) -> Firings:
        """Where the features fire in the texts."""
        s = self.settings
        settings = FiringsSettings(
            s.texts, s.work / "firings", s.model, s.tokens, device=s.device, threads=s.threads
        )
        return collect_firings(settings, self.sae, lambda done, total: self.report("texts read", done, total))

    @cached_property
    def reading(self) -> Reading:
        """The texts as words."""
        return read_units(self.firings)

    @cached_property
    def contexts(self) -> Contexts:
        """The texts as contexts."""
        return cut(self.firings)

    @cached_property
    def atoms(self) -> AtomIndex:
        """What labels can say of tokens, found in the texts."""
        return AtomIndex(self.reading)

    @cached_property
    def context_vectors(self) -> Float[NDArray[np.float32], "contexts width"]:
        """Embeddings of the contexts."""
        return self.embed(self.contexts.texts, "contexts embedded")

    def embed(self, texts: list[str], what: str) -> Float[NDArray[np.float32], "texts width"]:
        """Embeddings of texts; each is made once."""
        return self.embedder.embed(texts, lambda done, total: self.report(what, done, total))

    def report(self, what: str, done: int, total: int) -> None:
        """Tells how far a step is."""
        self._progress(what, done, total)

    def live(self) -> list[int]:
        """The features that are ever active in the reference corpus."""
        return [row.index for row in self.rows if row.is_live]

    def sample(self, feature: int, *, for_labels: bool) -> Sample:
        """Contexts to make the feature's label from, or to test it on."""
        row = self.rows[feature]
        near = [*row.decoder_neighbors[:_NEIGHBORS], *row.coactivation_neighbors[:_NEIGHBORS]]
        neighbors = [neighbor.index for neighbor in near]
        s = self.settings
        return draw(self.firings, self.contexts, feature, neighbors, s.sizes, s.seed, for_labels=for_labels)

"""An export's features as rows of features.parquet, in the SAE's own units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from services.saelab.activation_statistics import HISTOGRAM_EDGES
from services.saelab.annotated import PLAIN
from services.saelab.feature_classes import FIRST_TOKENS, ActiveToken, classify
from services.saelab.feature_rows import Example, FeatureClass, FeatureRow, TokenWeight
from services.saelab.importing.distribution import Distribution
from services.saelab.importing.neuronpedia_features import Examples, ExportedExample, ExportedFeature
from services.saelab.importing.token_names import TokenNames
from services.saelab.reference import SCALE_QUANTILE

UNKNOWN_SCALE = 1.0
"""Of a feature that is never active, or that the export does not have."""


@dataclass(frozen=True)
class ImportedFeatures:
    """What an export says, ready to be written."""

    count: int
    """Features of the SAE."""
    features: dict[int, ExportedFeature]
    examples: Examples
    names: TokenNames
    factor: float
    """Exported activations times this are in the SAE's own units."""

    @cached_property
    def scales(self) -> Float[Tensor, " features"]:
        """Activation scales: the 99.9th percentile of the export's histogram, or else its largest activation."""
        scales = torch.full((self.count,), UNKNOWN_SCALE)
        for index, feature in self.features.items():
            distribution = Distribution.of(feature.centres, feature.heights)
            value = distribution.quantile(SCALE_QUANTILE) if distribution else self._largest(index)
            if value > 0.0:
                scales[index] = value * self.factor
        return scales

    @property
    def unknown_tokens(self) -> tuple[int, int]:
        """How many of the promoted and suppressed tokens the model's vocabulary lacks, and how many there are."""
        tokens = [token for f in self.features.values() for token, _ in (*f.promoted, *f.suppressed)]
        return sum(self.names.id_of(token) is None for token in tokens), len(tokens)

    def rows(self) -> Iterator[FeatureRow]:
        """One row for each feature of the SAE, in order; one that the export does not have is unclassified."""
        for index in range(self.count):
            yield self._row(index)

    def _row(self, index: int) -> FeatureRow:
        feature, scale = self.features.get(index), float(self.scales[index])
        exported = self.examples.kept.get(index, [])
        distribution = None if feature is None else Distribution.of(feature.centres, feature.heights)
        examples = self._examples(index, exported, distribution)
        edges = [edge * scale / self.factor for edge in HISTOGRAM_EDGES]
        return FeatureRow(
            index=index,
            density=0.0 if feature is None else feature.density or 0.0,
            scale=scale,
            max_activation=self._largest(index) * self.factor,
            histogram=distribution.counts(edges) if distribution else (0,) * (len(edges) - 1),
            feature_class=self._class(feature, exported),
            promoted=self._weights(feature.promoted if feature else ()),
            suppressed=self._weights(feature.suppressed if feature else ()),
            examples=examples,
        )

    def _largest(self, index: int) -> float:
        """The largest activation known, as exported; 0 where none is."""
        feature = self.features.get(index)
        stated = feature.max_activation if feature else None
        seen = [example.maximum for example in self.examples.kept.get(index, ())]
        return max([*seen, stated or 0.0])

    def _examples(
        self, index: int, exported: list[ExportedExample], distribution: Distribution | None
    ) -> tuple[Example, ...]:
        examples = []
        for number, each in enumerate(exported):
            if each.drawn and distribution is None:
                continue  # Nothing says which quantile it stands for.
            examples.append(
                Example(
                    kind="quantile" if each.drawn else "top",
                    quantile=round(distribution.share_up_to(each.maximum), 3) if distribution else 1.0,
                    tokens=self.names.readable(each.tokens),
                    activations=tuple(float(f"{max(0.0, v) * self.factor:.3g}") for v in each.values),
                    peak=each.peak,
                    role="",
                    document=f"neuronpedia-{index}-{number}",
                )
            )
        return tuple(examples)

    def _weights(self, tokens: tuple[tuple[str, float], ...]) -> tuple[TokenWeight, ...]:
        found = [(self.names.id_of(name), weight) for name, weight in tokens]
        return tuple(TokenWeight(self.names.text(at), at, weight) for at, weight in found if at is not None)

    def _class(self, feature: ExportedFeature | None, exported: list[ExportedExample]) -> FeatureClass:
        """By the rules of feature_classes.py on the peaks of the examples, as far as they can be told from these."""
        active = [token for each in exported if (token := self._active(each))]
        if active:
            return classify(active)
        silent = feature is not None and not feature.density and not feature.max_activation and not exported
        return FeatureClass.DEAD if silent else FeatureClass.UNCLASSIFIED

    def _active(self, example: ExportedExample) -> ActiveToken | None:
        ids = self.names.ids_of(example.tokens)
        if ids is None:
            return None
        word, continues = self.names.word(ids, example.peak)
        # An export cuts texts anywhere: it does not say which tokens begin a document or a turn.
        return ActiveToken(
            self.names.text(ids[example.peak]), word, continues, PLAIN, FIRST_TOKENS, example.maximum
        )


def told(imported: ImportedFeatures, origin: dict[str, Any]) -> dict[str, Any]:
    """What the table's metadata says of where its numbers come from."""
    return {
        **origin,
        "features_in_export": len(imported.features),
        "activations_multiplied_by": imported.factor,
        "scales": f"quantile {SCALE_QUANTILE} of the export's histograms",
        "token_weights": "as exported: logits of the decoder direction through the unembedding",
        "examples": "from the export's texts, not written by the model",
    }

"""Rows of the lab's tables as features of the catalogue."""

from __future__ import annotations

from dataclasses import astuple

from services.features.feature import (
    UNLABELLED,
    Dose,
    Example,
    Feature,
    FeatureClass,
    Neighbor,
    TokenWeight,
)
from services.saelab import feature_rows
from services.saelab.feature_rows import FeatureRow
from services.saelab.label_table import LONGEST, Label, shortened

_CLASSES = {
    each: FeatureClass.UNSPECIFIED
    if each is feature_rows.FeatureClass.UNCLASSIFIED
    else FeatureClass(each.value)
    for each in feature_rows.FeatureClass
}
_ROLES = frozenset({"user", "assistant", "system"})
_NAMED_TOKENS = 5
_NULL, _NULL_SEEN = "\0", "␀"
"""Where a label speaks of the token U+0000: databases cannot store it in texts."""


def feature_of(sae: str, index: int, row: FeatureRow | None, label: Label | None, scale: float) -> Feature:
    """All that the tables know of a feature; either may say nothing of it. `scale` counts where the row is missing."""
    named = label or _without_label(index, row)
    measured = row or FeatureRow(index, 0.0, scale, 0.0, (), feature_rows.FeatureClass.UNCLASSIFIED)
    return Feature(
        sae=sae,
        index=index,
        label=named.label.replace(_NULL, _NULL_SEEN),
        description=named.description.replace(_NULL, _NULL_SEEN),
        label_source=named.source,
        label_score=named.score,
        label_fuzzing=named.fuzzing,
        label_null=named.null,
        feature_class=_CLASSES[measured.feature_class],
        density=measured.density,
        scale=measured.scale,
        max_activation=measured.max_activation,
        output_score=measured.output_score,
        steerability=measured.steerability,
        promoted=_weights(measured.promoted),
        suppressed=_weights(measured.suppressed),
        histogram=measured.histogram,
        doses=tuple(Dose(*astuple(dose)) for dose in measured.steering),
        examples=tuple(map(_example, measured.examples)),
        decoder_neighbors=_neighbors(measured.decoder_neighbors),
        coactivation_neighbors=_neighbors(measured.coactivation_neighbors),
    )


def _without_label(index: int, row: FeatureRow | None) -> Label:
    """What a feature reads as that nobody has named: what it promotes, said to be no label."""
    if row is None:
        text = "no data"
    elif not row.is_live:
        text = "never active"
    else:
        words = ", ".join(f'"{weight.token.strip()}"' for weight in row.promoted[:_NAMED_TOKENS])
        text = f"promotes {words}" if words else "no label yet"
    return Label(index, UNLABELLED + shortened(text, LONGEST - len(UNLABELLED)), "", "")


def _weights(weights: tuple[feature_rows.TokenWeight, ...]) -> tuple[TokenWeight, ...]:
    return tuple(TokenWeight(each.token, each.id, each.weight) for each in weights)


def _neighbors(neighbors: tuple[feature_rows.Neighbor, ...]) -> tuple[Neighbor, ...]:
    return tuple(Neighbor(each.index, each.similarity) for each in neighbors)


def _example(example: feature_rows.Example) -> Example:
    return Example(
        kind=example.kind,
        quantile=example.quantile,
        tokens=example.tokens,
        activations=example.activations,
        peak=example.peak,
        role=example.role if example.role in _ROLES else "",
        document=example.document,
    )

"""A small SAE with the lab's tables beside it, about the topics of the catalogue's tests."""

from __future__ import annotations

from dataclasses import astuple, replace
from pathlib import Path

import torch

from services.features.feature import Example
from services.inference.sae.base import Architecture, Sae, SaeWeights
from services.inference.sae.write_saelens import write_saelens
from services.saelab import feature_rows, feature_table, label_table
from services.saelab.feature_rows import FeatureRow, FeatureTableInfo
from services.saelab.label_table import Label, LabelTableInfo
from tests.features.made_features import EDGES, feature

COUNT, WIDTH, LAYER = 24, 32, 3
SAE = "small"


def made_sae(folder: Path, *, width: int = WIDTH, layer: int = LAYER, features: int = COUNT) -> Sae:
    """Writes an SAE of random directions."""
    decoder = torch.nn.functional.normalize(
        torch.randn(features, width, generator=torch.Generator().manual_seed(1))
    )
    bias, threshold = torch.zeros(features), torch.zeros(features)
    weights = SaeWeights(
        Architecture.JUMPRELU, decoder, bias, decoder, torch.zeros(width), threshold=threshold
    )
    scales = torch.full((features,), 20.0)
    sae = Sae(
        SAE, weights, f"model.layers.{layer}", layer, weights.digest(), 172.0, 0.6, scales, {"model": "tiny"}
    )
    return write_saelens(folder, sae, weights="float32")


def row(index: int) -> FeatureRow:
    """What the table knows of a feature; feature 3 is dead."""
    if index == 3:
        return FeatureRow(index, 0.0, 1.0, 0.0, (0, 0, 0), feature_rows.FeatureClass.DEAD)
    known = feature(index)
    return FeatureRow(
        index=index,
        density=known.density,
        scale=known.scale,
        max_activation=known.max_activation,
        histogram=known.histogram,
        feature_class=feature_rows.FeatureClass.CONCEPT,
        output_score=known.output_score,
        steering=tuple(feature_rows.Dose(*astuple(dose)) for dose in known.doses),
        steerability=known.steerability if index % 2 else None,
        promoted=tuple(feature_rows.TokenWeight(*astuple(each)) for each in known.promoted),
        suppressed=(feature_rows.TokenWeight("\0", 5, -1.5),),
        examples=tuple(map(_example, known.examples)),
        decoder_neighbors=(feature_rows.Neighbor(1, 0.5),),
        coactivation_neighbors=(feature_rows.Neighbor(0, 0.25),),
    )


def label(index: int) -> Label:
    """What the table calls a feature."""
    known = feature(index)
    description = "mostly '\0'" if index == COUNT - 1 else known.description
    return Label(index, known.label, description, "offline", 0.75, 0.625, 0.5, 0.01)


def write_features(folder: Path, sae: Sae, **changes: object) -> None:
    """Writes features.parquet."""
    info = FeatureTableInfo(
        sae_id=sae.id,
        weights_digest=sae.weights_digest,
        model="tiny",
        hook_point=sae.hook_point,
        features=sae.weights.d_sae,
        histogram_edges=EDGES,
        texts_digest="",
        text_tokens=1,
        reference_tokens=1,
        hearth_version="0.1.0",
    )
    feature_table.write(folder, replace(info, **changes), map(row, range(sae.weights.d_sae)))  # type: ignore[arg-type]


def write_labels(folder: Path, sae: Sae) -> None:
    """Writes labels.parquet."""
    count = sae.weights.d_sae
    info = LabelTableInfo(sae.id, sae.weights_digest, count, "0.1.0", {})
    label_table.write(folder, info, map(label, range(count)))


def made_folder(folder: Path) -> Sae:
    """The SAE with both tables."""
    sae = made_sae(folder)
    write_features(folder, sae)
    write_labels(folder, sae)
    return sae


def _example(example: Example) -> feature_rows.Example:
    return feature_rows.Example(
        kind="top" if example.kind == "top" else "quantile",
        quantile=example.quantile,
        tokens=example.tokens,
        activations=example.activations,
        peak=example.peak,
        role=example.role or "template",
        document=example.document,
    )

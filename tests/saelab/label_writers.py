"""Label files as other tools write them, with made-up contents."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from services.saelab.importing.label_formats import label_format
from services.saelab.importing.labels import LabelSet, Target

MODEL, SOURCE = "tiny-2b", "1-tinyscope-res-40"
TARGET = Target(features=40, layer=1, hook_point="model.layers.1", weights_digests=("a" * 64, "b" * 64))


def read(path: Path, target: Target = TARGET) -> LabelSet:
    return label_format(path).read(path, target)


def texts(found: LabelSet) -> dict[int, str]:
    return {label.index: label.label for label in found.labels}


def written(path: Path, content: str | Iterable[Any]) -> Path:
    path.write_text(
        content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
    )
    return path


def jsonl_gz(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return path


def explanation(index: int, description: str | None, /, **changes: Any) -> dict[str, Any]:
    """A line of Neuronpedia's explanations, with the columns of its export."""
    return {
        "id": f"cm{index:023d}",
        "modelId": MODEL,
        "layer": SOURCE,
        "index": str(index),
        "authorId": "clkht01d40000jv08hvalcvly",
        "description": description,
        "embedding": "[0.1,0.2,0.3]",
        "typeName": "oai_token-act-pair",
        "explanationModelName": "gpt-4o-mini",
        "umap_x": 0.0,
        "umap_y": 0.0,
        "umap_cluster": 0,
        "umap_log_feature_sparsity": 0.0,
    } | changes


def feature(index: int, /, **changes: Any) -> dict[str, Any]:
    """A line of Neuronpedia's features; half of its columns are empty in most exports."""
    return {
        "modelId": MODEL,
        "layer": SOURCE,
        "index": str(index),
        "maxActApprox": 0.0,
        "creatorId": "clkht01d40000jv08hvalcvly",
        "frac_nonzero": 0.0,
        "freq_hist_data_bar_heights": [],
        "freq_hist_data_bar_values": [],
        "logits_hist_data_bar_heights": [],
        "logits_hist_data_bar_values": [],
        "neuron_alignment_indices": [],
        "neuron_alignment_l1": [],
        "neuron_alignment_values": [],
        "correlated_neurons_indices": [],
        "correlated_neurons_l1": [],
        "correlated_neurons_pearson": [],
        "decoder_weights_dist": [],
        "neg_str": [],
        "neg_values": [],
        "pos_str": [],
        "pos_values": [],
        "sourceSetName": None,
        "topkCosSimIndices": [],
        "topkCosSimValues": [],
        "vector": [],
        "vectorLabel": None,
        "hookName": None,
        "vectorDefaultSteerStrength": 10,
        "hasVector": False,
    } | changes


def activation(index: int, tokens: list[str], values: list[float], /, **changes: Any) -> dict[str, Any]:
    """A line of Neuronpedia's activations; those of the largest ones have binContains -1."""
    peak = max(range(len(values)), key=values.__getitem__)
    return {
        "id": f"ca{index:023d}",
        "modelId": MODEL,
        "layer": SOURCE,
        "index": str(index),
        "creatorId": "clkht01d40000jv08hvalcvly",
        "dataSource": None,
        "tokens": tokens,
        "maxValue": max(values),
        "minValue": min(values),
        "values": values,
        "maxValueTokenIndex": peak,
        "dfaValues": [],
        "dfaMaxValue": None,
        "dfaTargetIndex": None,
        "binContains": -1.0,
        "binMin": -1.0,
        "binMax": 99.0,
    } | changes


def judged(activating: bool, prediction: bool | None) -> dict[str, Any]:
    """One context of a delphi score file."""
    return {
        "str_tokens": ["a", " b"],
        "activations": [0.0, 1.0 if activating else 0.0],
        "distance": 1,
        "activating": activating,
        "prediction": prediction,
        "probability": None,
        "correct": None if prediction is None else prediction == activating,
    }


def delphi_run(
    folder: Path,
    explanations: Mapping[int, str],
    module: str = "layers.1",
    detection: Mapping[int, list[dict[str, Any]]] | None = None,
    fuzz: Mapping[int, list[dict[str, Any]]] | None = None,
) -> Path:
    """A run's folder: explanations and scores are JSON in .txt files."""
    for kind in ("explanations", "scores/detection", "scores/fuzz"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for index, text in explanations.items():
        (folder / "explanations" / f"{module}_latent{index}.txt").write_text(json.dumps(text))
    for scorer, scores in (("detection", detection or {}), ("fuzz", fuzz or {})):
        for index, contexts in scores.items():
            (folder / "scores" / scorer / f"{module}_latent{index}.txt").write_text(json.dumps(contexts))
    (folder / "run_config.json").write_text(json.dumps({"explainer_model": "tiny/explainer"}))
    return folder

"""A Neuronpedia export of the fitting SAE, made by running texts through the tiny model and the formula of the SAE."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from services.inference.sae.calibration import residuals_of
from tests.saelab.fitting_sae import FEATURES, LAYER, room_of, tensors_of
from tests.saelab.label_writers import activation, explanation, feature, jsonl_gz
from tests.saelab.tiny_lab import WORDS

BARS = 50


def contexts(model: Path, count: int = 12, length: int = 40) -> list[list[int]]:
    """Token ids of made-up texts."""
    draw = random.Random(1)
    encode = room_of(model).tokenizer.encode_text
    return [encode(" ".join(draw.choices(WORDS, k=length)))[:length] for _ in range(count)]


def activations_of(model: Path, ids: list[int]) -> Tensor:
    """[tokens, FEATURES], by the formula."""
    tensors = tensors_of(model)
    h = residuals_of(room_of(model).model.module, [torch.tensor(ids)], [LAYER])[LAYER]
    return torch.relu(h @ tensors["W_enc"] + tensors["b_enc"])


def write_export(
    folder: Path, model: Path, *, units: float = 1.0, shift: int = 0, spelling: str = "text", **source: Any
) -> Path:
    """All three folders. `units` multiplies activations, `shift` gives each feature the data of another one."""
    tokenizer = room_of(model).tokenizer
    rows = contexts(model)
    values = [activations_of(model, ids) * units for ids in rows]

    def spelled(token: int) -> str:
        return (
            tokenizer.piece(token).decode()
            if spelling == "text"
            else tokenizer.plain.convert_ids_to_tokens(token)
        )

    features, shown, explained = [], [], []
    for index in range(FEATURES):
        of = (index + shift) % FEATURES
        everything = torch.cat([each[:, of] for each in values])
        active = everything[everything > 0].numpy()
        heights, edges = np.histogram(active, bins=BARS, range=(active.min(), active.max()))
        features.append(
            feature(
                index,
                frac_nonzero=len(active) / len(everything),
                maxActApprox=float(active.max()),
                freq_hist_data_bar_values=((edges[:-1] + edges[1:]) / 2).round(5).tolist(),
                freq_hist_data_bar_heights=heights.astype(float).tolist(),
                pos_str=[spelled(rows[0][1]), " nowhere"],
                pos_values=[1.5, 1.25],
                neg_str=[spelled(rows[0][2])],
                neg_values=[-1.0],
                **source,
            )
        )
        for ids, each in zip(rows, values, strict=True):
            tokens = [spelled(token) for token in ids]
            shown.append(activation(index, tokens, each[:, of].tolist(), **source))
            drawn = {"binContains": 0.1, "binMin": float(each[:, of].max().floor()), "binMax": 9.0}
            shown.append(activation(index, tokens[:6], each[:6, of].tolist(), **drawn, **source))
        explained.append(explanation(index, f"made-up words, number {index}", **source))
    half = FEATURES // 2
    for kind, lines in (("features", features), ("explanations", explained)):
        jsonl_gz(folder / kind / "batch-0.jsonl.gz", lines[:half])
        jsonl_gz(folder / kind / "batch-1.jsonl.gz", lines[half:])
    jsonl_gz(folder / "activations" / "batch-0.jsonl.gz", shown)
    return folder

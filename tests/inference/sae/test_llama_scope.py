"""Llama Scope folders of both layouts encode and decode the numbers of their own formula, token by token."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from services.inference.sae.base import Architecture, Sae
from services.inference.sae.errors import SaeFormatError
from services.inference.sae.formats import FORMATS, load_sae
from services.inference.sae.write_saelens import write_saelens
from tests.inference.sae.file_writers import (
    D_MODEL,
    D_SAE,
    LLAMA_SCOPE_NORM,
    later_llama_scope_folder,
    llama_scope_folder,
    numbers,
    residual_stream,
)

R = math.sqrt(D_MODEL) / LLAMA_SCOPE_NORM
HOOK = "blocks.15.hook_resid_post"


def normalised(
    h: Tensor, fires: Any, include_norm: bool = True, subtract: bool = False
) -> tuple[Tensor, Tensor]:
    """The formula in the SAE's own, normalised space: the input is R h, activations and output are brought back.

    `fires` says from a token's rescaled pre-activations which features fire. Returns what Hearth promises: activations
    in the stream's units that carry the decoder's norm, and the reconstruction of h.
    """
    n = {name: tensor.double() for name, tensor in numbers().items()}
    norms = n["W_dec"].norm(dim=-1) if include_norm else torch.ones(D_SAE, dtype=torch.float64)
    activations, outputs = [], []
    for token in h.double():
        x = token * R - (n["b_dec"] if subtract else 0.0)
        pre = torch.stack([x @ n["W_enc"][:, i] + n["b_enc"][i] for i in range(D_SAE)])
        f = torch.where(fires(pre * norms), pre, 0.0)
        outputs.append((sum(f[i] * n["W_dec"][i] for i in range(D_SAE)) + n["b_dec"]) / R)
        activations.append(f * norms / R)
    return torch.stack(activations), torch.stack(outputs)


def over(threshold: Tensor | float) -> Any:
    return lambda pre: pre > threshold


def largest(k: int) -> Any:
    return lambda pre: (
        torch.zeros_like(pre, dtype=torch.bool).scatter_(-1, pre.topk(k).indices, True) & (pre > 0)
    )


def assert_computes(sae: Sae, expected: tuple[Tensor, Tensor]) -> None:
    h = residual_stream()
    encoded = sae.weights.encode(h)
    assert 0.02 < (expected[0] > 0).double().mean() < 0.9
    torch.testing.assert_close(encoded.double(), expected[0], rtol=2e-5, atol=2e-5)
    torch.testing.assert_close(sae.weights.decode(encoded).double(), expected[1], rtol=2e-5, atol=5e-5)


def test_the_first_release_thresholds_in_the_streams_units(tmp_path: Path) -> None:
    sae = load_sae(llama_scope_folder(tmp_path / "Llama3_1-8B-Base-L15R-8x"))
    assert sae.weights.architecture is Architecture.JUMPRELU
    assert_computes(sae, normalised(residual_stream(), over(0.75390625 * R)))
    assert (sae.layer, sae.id) == (15, "Llama3_1-8B-Base-L15R-8x")
    assert sae.card["model"] == "meta-llama/Llama-3.1-8B"
    assert sae.card["l0"] == 3.0
    torch.testing.assert_close(sae.weights.W_dec.norm(dim=-1), torch.ones(D_SAE))


def test_decoder_norms_that_the_choice_ignores_stay(tmp_path: Path) -> None:
    sae = load_sae(llama_scope_folder(tmp_path, sparsity_include_decoder_norm=False))
    assert_computes(sae, normalised(residual_stream(), over(0.75390625 * R), include_norm=False))
    torch.testing.assert_close(sae.weights.W_dec, numbers()["W_dec"])


def test_a_decoder_bias_that_is_subtracted_first(tmp_path: Path) -> None:
    sae = load_sae(llama_scope_folder(tmp_path, apply_decoder_bias_to_pre_encoder=True))
    assert_computes(sae, normalised(residual_stream(), over(0.75390625 * R), subtract=True))


def test_topk_chooses_among_rescaled_activations_unless_a_threshold_replaces_it(tmp_path: Path) -> None:
    topk = load_sae(llama_scope_folder(tmp_path / "a", act_fn="topk", jump_relu_threshold=0.0))
    assert (topk.weights.architecture, topk.weights.k) == (Architecture.TOPK, 3)
    assert_computes(topk, normalised(residual_stream(), largest(3)))
    converted = load_sae(llama_scope_folder(tmp_path / "b", act_fn="topk"))
    assert_computes(converted, normalised(residual_stream(), over(0.75390625 * R)))


def test_the_later_layout_learns_thresholds_in_normalised_units(tmp_path: Path) -> None:
    sae = load_sae(later_llama_scope_folder(tmp_path))
    assert_computes(sae, normalised(residual_stream(), over(numbers()["threshold"].double())))
    assert "l0" not in sae.card  # top_k says nothing of a learned threshold
    assert sae.weights.d_sae == D_SAE
    (tmp_path / "lm_config.json").write_text(json.dumps({"model_name": "tiny/model", "device": "cuda"}))
    assert load_sae(tmp_path).card["model"] == "tiny/model"


@pytest.mark.parametrize("name", ["topk", "batchtopk"])
def test_the_later_layout_of_topk(tmp_path: Path, name: str) -> None:
    without = ("activation_function.log_jumprelu_threshold",)
    sae = load_sae(later_llama_scope_folder(tmp_path, without, act_fn=name))
    assert_computes(sae, normalised(residual_stream(), largest(3)))


def test_the_later_layout_of_relu_with_the_bias_left_out(tmp_path: Path) -> None:
    folder = later_llama_scope_folder(tmp_path, ("b_D",), act_fn="relu", use_decoder_bias=False)
    sae = load_sae(folder)
    assert sae.weights.architecture is Architecture.RELU
    assert torch.equal(sae.weights.b_dec, torch.zeros(D_MODEL))


def test_norms_that_are_folded_in_already_or_given_as_an_option(tmp_path: Path) -> None:
    folder = later_llama_scope_folder(tmp_path, (f"dataset_average_activation_norm.{HOOK}",))
    with pytest.raises(
        SaeFormatError, match=r"config\.json: dataset_average_activation_norm: expected the ave"
    ):
        load_sae(folder)
    given = load_sae(folder, norm_scaling_factor=R)
    assert_computes(given, normalised(residual_stream(), over(numbers()["threshold"].double())))
    plain = load_sae(later_llama_scope_folder(tmp_path, norm_activation="inference"))
    torch.testing.assert_close(plain.weights.b_dec, numbers()["b_dec"])


def test_it_is_written_and_read_back_bit_for_bit(tmp_path: Path) -> None:
    for name, folder in {
        "jumprelu": llama_scope_folder(tmp_path / "a"),
        "topk": llama_scope_folder(tmp_path / "b", act_fn="topk", jump_relu_threshold=0.0),
    }.items():
        sae = load_sae(folder)
        stored = write_saelens(tmp_path / "out" / name, sae, weights="float32")
        assert stored.weights_digest == sae.weights_digest, name


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        ({"norm_activation": "token-wise"}, "norm_activation", "'dataset-wise'"),
        ({"act_fn": "gelu"}, "act_fn", "'jumprelu'"),
        ({"use_glu_encoder": True}, "use_glu_encoder", "False"),
        ({"hook_point_out": "blocks.15.hook_mlp_out"}, "hook_point_out", "not a transcoder"),
        (
            {"hook_point_in": "blocks.15.hook_mlp_out", "hook_point_out": None},
            "hook_point_in",
            "a block's output",
        ),
        ({"dataset_average_activation_norm": {"in": 0.0, "out": 1.0}}, "in", "a positive number"),
        ({"dataset_average_activation_norm": None}, "dataset_average_activation_norm", "average norms"),
        ({"jump_relu_threshold": -1.0}, "jump_relu_threshold", "a number from 0 up"),
        ({"d_model": None}, "d_model", "a positive whole number"),
        ({"act_fn": "topk", "jump_relu_threshold": 0, "top_k": 0}, "top_k", "a positive whole number"),
        ({"sae_type": "crosscoder"}, "sae_type", "'sae'"),
    ],
)
def test_configurations_that_cannot_be_served_exactly(
    tmp_path: Path, changes: dict[str, Any], key: str, expected: str
) -> None:
    with pytest.raises(SaeFormatError) as caught:
        load_sae(llama_scope_folder(tmp_path, **changes))
    assert caught.value.file == tmp_path / "hyperparams.json"
    assert caught.value.tensor == key
    assert expected in caught.value.expected


def test_tensors_that_disagree_or_are_missing(tmp_path: Path) -> None:
    folder = llama_scope_folder(tmp_path / "a", {"decoder.weight": torch.zeros(D_SAE, D_MODEL)})
    with pytest.raises(
        SaeFormatError, match=rf"final\.safetensors: decoder\.weight: expected shape \[{D_MODEL}"
    ):
        load_sae(folder)
    without = ("activation_function.log_jumprelu_threshold",)
    with pytest.raises(SaeFormatError, match="jump_relu_threshold: expected a number, or a tensor"):
        load_sae(later_llama_scope_folder(tmp_path / "b", without))


def test_the_layer_option_is_stronger_and_saelens_folders_are_not_claimed(tmp_path: Path) -> None:
    folder = llama_scope_folder(tmp_path)
    assert load_sae(folder, layer=3).hook_point == "model.layers.3"
    assert FORMATS.detect(folder).name == "llama_scope"
    write_saelens(tmp_path / "converted", load_sae(folder))
    assert FORMATS.detect(tmp_path / "converted").name == "saelens"

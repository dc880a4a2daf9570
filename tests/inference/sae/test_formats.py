"""Every format, read from a small file, encodes and decodes the numbers of its own description."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from services.inference.sae.base import Architecture, Sae, SaeWeights
from services.inference.sae.formats import load_sae
from tests.inference.sae.file_writers import (
    D_SAE,
    SAELENS_TENSORS,
    flat_saelens_config,
    gemma_scope_file,
    goodfire_file,
    numbers,
    residual_stream,
    saelens_folder,
    sparsify_folder,
    write_saelens_folder,
)
from tests.inference.sae.reference import Activation, encode_and_decode


def assert_computes(
    sae: Sae,
    activation: Activation,
    *,
    subtracts_b_dec: bool,
    k: int = 0,
    scale: float = 1.0,
    rescale: bool = False,
) -> None:
    h = residual_stream()
    activations, outputs = encode_and_decode(
        h, numbers(), activation, subtracts_b_dec=subtracts_b_dec, k=k, scale=scale, rescale=rescale
    )
    encoded = sae.weights.encode(h)
    assert 0.02 < (activations > 0).double().mean() < 0.9  # the reference neither sleeps nor lets all through
    torch.testing.assert_close(encoded.double(), activations, rtol=2e-5, atol=2e-5)
    torch.testing.assert_close(sae.weights.decode(encoded).double(), outputs, rtol=2e-5, atol=5e-5)
    tokens, features = (
        index.flatten() for index in torch.meshgrid(torch.arange(len(h)), torch.arange(D_SAE), indexing="ij")
    )
    pairs = sae.weights.encode_pairs(h[tokens], features)
    torch.testing.assert_close(pairs.double(), activations.flatten(), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("subtracts_b_dec", [True, False])
@pytest.mark.parametrize("architecture", ["standard", "jumprelu", "topk", "gated"])
def test_saelens_architectures_encode_as_described(
    tmp_path: Path, architecture: Activation, subtracts_b_dec: bool
) -> None:
    folder = saelens_folder(tmp_path / "sae", architecture, apply_b_dec_to_input=subtracts_b_dec)
    assert_computes(load_sae(folder), architecture, subtracts_b_dec=subtracts_b_dec, k=3)


def test_saelens_topk_that_chooses_among_rescaled_activations(tmp_path: Path) -> None:
    folder = saelens_folder(tmp_path / "sae", "topk", rescale_acts_by_decoder_norm=True)
    assert_computes(load_sae(folder), "topk", subtracts_b_dec=True, k=3, rescale=True)


@pytest.mark.parametrize("subtracts_b_dec", [True, False])
@pytest.mark.parametrize("architecture", ["standard", "jumprelu", "topk", "gated"])
def test_a_known_input_scale_is_folded_in(
    tmp_path: Path, architecture: Activation, subtracts_b_dec: bool
) -> None:
    folder = saelens_folder(
        tmp_path / "sae",
        architecture,
        apply_b_dec_to_input=subtracts_b_dec,
        normalize_activations="expected_average_only_in",
    )
    sae = load_sae(folder, norm_scaling_factor=0.6)
    assert_computes(sae, architecture, subtracts_b_dec=subtracts_b_dec, k=3, scale=0.6)


def test_the_input_scale_is_found_in_the_config_or_beside_it(tmp_path: Path) -> None:
    how = {"normalize_activations": "expected_average_only_in"}
    named = load_sae(saelens_folder(tmp_path / "named", "standard", **how, norm_scaling_factor=0.6))
    beside = saelens_folder(tmp_path / "beside", "standard", **how)
    (beside / "activation_scaler.json").write_text('{"scaling_factor": 0.6}')
    assert_computes(named, "standard", subtracts_b_dec=True, scale=0.6)
    assert load_sae(beside).weights_digest == named.weights_digest


def test_saelens_flat_layout_of_old_versions(tmp_path: Path) -> None:
    tensors = {name: numbers()[name] for name in SAELENS_TENSORS["standard"]}
    sae = load_sae(write_saelens_folder(tmp_path / "old", flat_saelens_config(), tensors))
    assert_computes(sae, "standard", subtracts_b_dec=True)
    assert (sae.layer, sae.hook_point) == (15, "model.layers.15")
    assert sae.card["model"] == "tiny/model"
    assert sae.card["context_size"] == 128

    topk = flat_saelens_config(activation_fn_str="topk", activation_fn_kwargs={"k": 3})
    sae = load_sae(write_saelens_folder(tmp_path / "topk", topk, tensors))
    assert_computes(sae, "topk", subtracts_b_dec=True, k=3)


def test_saelens_batchtopk_saved_as_topk_is_a_topk(tmp_path: Path) -> None:
    folder = saelens_folder(tmp_path / "sae", "topk", architecture="batchtopk", k=3.0)
    sae = load_sae(folder)
    assert sae.weights.architecture is Architecture.TOPK
    assert_computes(sae, "topk", subtracts_b_dec=True, k=3)


def test_saelens_finetuning_scale_multiplies_what_is_decoded(tmp_path: Path) -> None:
    scale = torch.linspace(0.5, 2.0, D_SAE)
    tensors = {name: numbers()[name] for name in SAELENS_TENSORS["standard"]} | {"scaling_factor": scale}
    config = flat_saelens_config(finetuning_scaling_factor=True)
    sae = load_sae(write_saelens_folder(tmp_path / "sae", config, tensors))
    f = torch.eye(D_SAE)
    expected = scale[:, None] * numbers()["W_dec"] + numbers()["b_dec"]
    torch.testing.assert_close(sae.weights.decode(f), expected)


def test_saelens_metadata_becomes_the_card_and_sparsity_its_l0(tmp_path: Path) -> None:
    folder = saelens_folder(tmp_path / "sae", "jumprelu")
    save_file({"sparsity": torch.full((D_SAE,), -1.0)}, folder / "sparsity.safetensors")
    card = load_sae(folder).card
    assert card["model"] == "tiny/model"
    assert card["dataset"] == "tiny/text"
    assert card["prepend_bos"] is True
    assert card["context_size"] == 256
    assert card["l0"] == pytest.approx(D_SAE * 0.1)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("blocks.15.hook_resid_post", 15),
        ("model.layers.15", 15),
        ("blocks.8.hook_resid_pre", 7),
        ("transformer.h.3", 3),
        ("gpt_neox.layers.0", 0),
    ],
)
def test_hook_names_of_both_worlds_are_understood(tmp_path: Path, name: str, layer: int) -> None:
    sae = load_sae(saelens_folder(tmp_path / "sae", "standard", metadata={"hook_name": name}))
    assert (sae.layer, sae.hook_point) == (layer, f"model.layers.{layer}")


def test_gemma_scope_is_jumprelu_on_the_plain_stream(tmp_path: Path) -> None:
    folder = gemma_scope_file(tmp_path / "layer_20" / "width_16k" / "average_l0_71")
    sae = load_sae(folder)
    assert_computes(sae, "jumprelu", subtracts_b_dec=False)
    assert sae.layer == 20
    assert sae.card["l0"] == 71.0
    assert sae.id == "layer_20-width_16k-average_l0_71"
    assert load_sae(folder / "params.npz").weights_digest == sae.weights_digest


def test_goodfire_is_relu_on_the_plain_stream(tmp_path: Path) -> None:
    file = goodfire_file(tmp_path / "Llama-3.1-8B-Instruct-SAE-l19.pth")
    sae = load_sae(file)
    assert_computes(sae, "standard", subtracts_b_dec=False)
    assert (sae.layer, sae.id) == (19, "Llama-3.1-8B-Instruct-SAE-l19")
    assert load_sae(tmp_path).weights_digest == sae.weights_digest
    assert load_sae(goodfire_file(tmp_path / "Llama-3.3-70B-Instruct-SAE-l50.pt")).layer == 50


def test_goodfire_in_bfloat16_is_read_as_float32(tmp_path: Path) -> None:
    narrow = numbers()["W_enc"].T.contiguous().bfloat16()
    sae = load_sae(goodfire_file(tmp_path / "x-l1.pth", **{"encoder_linear.weight": narrow}))
    assert sae.weights.W_enc.dtype is torch.float32
    assert torch.equal(sae.weights.W_enc, narrow.float())


def test_sparsify_is_topk_on_the_stream_less_b_dec(tmp_path: Path) -> None:
    sae = load_sae(sparsify_folder(tmp_path / "layers.10"))
    assert_computes(sae, "topk", subtracts_b_dec=True, k=3)
    assert (sae.layer, sae.weights.k) == (10, 3)


def test_sparsify_latents_follow_from_the_expansion_factor(tmp_path: Path) -> None:
    tensors = {
        "encoder.weight": torch.randn(12, 6),
        "encoder.bias": torch.zeros(12),
        "W_dec": torch.randn(12, 6),
    }
    sae = load_sae(sparsify_folder(tmp_path / "layers.10", tensors, num_latents=0, expansion_factor=2))
    assert sae.weights.d_sae == 12


def test_sparsify_run_config_becomes_the_card(tmp_path: Path) -> None:
    folder = sparsify_folder(tmp_path / "run" / "layers.10")
    (folder.parent / "config.json").write_text('{"model": "tiny/model", "ctx_len": 2048}')
    card = load_sae(folder).card
    assert (card["model"], card["context_size"]) == ("tiny/model", 2048)


def test_options_are_stronger_than_files(tmp_path: Path) -> None:
    sae = load_sae(saelens_folder(tmp_path / "sae", "standard"), sae_id="mine", layer=3)
    assert (sae.id, sae.layer, sae.hook_point) == ("mine", 3, "model.layers.3")


def test_the_digest_depends_on_the_numbers_and_on_nothing_else(tmp_path: Path) -> None:
    jumprelu = load_sae(saelens_folder(tmp_path / "a", "jumprelu", apply_b_dec_to_input=False))
    gemma = load_sae(gemma_scope_file(tmp_path / "layer_1"))
    assert jumprelu.weights_digest == gemma.weights_digest  # the same SAE in two formats
    threshold = numbers()["threshold"]
    threshold[0] += 1e-3
    changed = load_sae(gemma_scope_file(tmp_path / "layer_2", threshold=threshold.numpy()))
    assert changed.weights_digest != gemma.weights_digest
    k3, k4 = (load_sae(saelens_folder(tmp_path / f"k{k}", "topk", k=k)) for k in (3, 4))
    assert k3.weights_digest != k4.weights_digest


def test_the_digest_is_the_same_for_ever() -> None:
    weights = SaeWeights(
        architecture=Architecture.JUMPRELU,
        W_enc=torch.arange(6.0).reshape(3, 2),
        b_enc=torch.zeros(3),
        W_dec=torch.arange(6.0).reshape(2, 3).T,  # bytes in the order of the shape, however it lies in memory
        b_dec=torch.ones(2),
        threshold=torch.full((3,), 0.5),
    )
    assert weights.digest() == "c6ac8f47108ce648c172db8fc59d55eee7c15e1b23b0807617b4491fe539bc81"
    assert replace(weights, W_dec=weights.W_dec.contiguous()).digest() == weights.digest()

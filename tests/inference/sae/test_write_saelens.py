"""What Hearth writes in SAELens' format reads back as it was, and follows the layout of sae-lens 6."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors.torch import load_file, save_file

from services.inference.sae.base import Architecture, Sae, SaeWeights
from services.inference.sae.errors import SaeFormatError
from services.inference.sae.formats import load_sae
from services.inference.sae.write_saelens import write_saelens
from tests.inference.sae.file_writers import D_MODEL, D_SAE, numbers, residual_stream, saelens_folder

CARD = {
    "model": "tiny/model",
    "variance_explained": 0.81,
    "l0": 32.3,
    "prepend_bos": False,
    "context_size": 256,
}


def an_sae(architecture: Architecture = Architecture.JUMPRELU) -> Sae:
    drawn = numbers()
    weights = SaeWeights(
        architecture=architecture,
        W_enc=drawn["W_enc"].T.contiguous(),
        b_enc=drawn["b_enc"],
        W_dec=drawn["W_dec"],
        b_dec=drawn["b_dec"] * 1e-6 + 170.0,
        threshold=drawn["threshold"] if architecture is Architecture.JUMPRELU else None,
    )
    return Sae(
        id="tiny-l15",
        weights=weights,
        hook_point="model.layers.15",
        layer=15,
        weights_digest=weights.digest(),
        median_norm=170.8,
        strength_constant=0.55,
        scales=torch.linspace(1.0, 3.0, D_SAE),
        card=CARD,
    )


def assert_same(left: Sae, right: Sae) -> None:
    for name in ("id", "hook_point", "layer", "weights_digest", "median_norm", "strength_constant", "card"):
        assert getattr(left, name) == getattr(right, name), name
    assert (left.scales is None) == (right.scales is None)
    if left.scales is not None and right.scales is not None:
        assert torch.equal(left.scales, right.scales)
    h = residual_stream()
    assert torch.equal(left.weights.encode(h), right.weights.encode(h))
    assert torch.equal(left.weights.b_dec, right.weights.b_dec)


def test_float32_reads_back_bit_for_bit(tmp_path: Path) -> None:
    sae = an_sae()
    stored = write_saelens(tmp_path / "other-name", sae, weights="float32")
    assert_same(stored, sae)
    assert_same(load_sae(tmp_path / "other-name"), sae)


def test_float16_rounds_the_matrices_alone_and_returns_what_is_stored(tmp_path: Path) -> None:
    sae = an_sae()
    stored = write_saelens(tmp_path, sae)
    assert_same(load_sae(tmp_path), stored)
    assert stored.weights_digest == stored.weights.digest() != sae.weights_digest
    assert torch.equal(stored.weights.W_enc, sae.weights.W_enc.half().float())
    assert torch.equal(stored.weights.W_dec, sae.weights.W_dec.half().float())
    assert torch.equal(stored.weights.b_dec, sae.weights.b_dec)  # near 170 half floats are 0.125 apart
    assert_same(write_saelens(tmp_path, stored), stored)  # writing again changes nothing


@pytest.mark.parametrize(("weights", "dtype"), [("float16", torch.float16), ("float32", torch.float32)])
def test_the_layout_is_that_of_sae_lens_6(
    tmp_path: Path, weights: Literal["float16", "float32"], dtype: torch.dtype
) -> None:
    write_saelens(tmp_path, an_sae(), weights=weights)
    config = json.loads((tmp_path / "cfg.json").read_text())
    assert config["architecture"] == "jumprelu"
    assert (config["d_in"], config["d_sae"], config["dtype"]) == (D_MODEL, D_SAE, "float32")
    assert config["apply_b_dec_to_input"] is False
    assert config["normalize_activations"] == config["reshape_activations"] == "none"
    assert config["metadata"]["hook_name"] == "blocks.15.hook_resid_post"
    assert config["metadata"]["model_name"] == "tiny/model"
    assert config["metadata"]["prepend_bos"] is False
    assert config["metadata"]["sae_lens_version"].startswith("6.")
    tensors = load_file(tmp_path / "sae_weights.safetensors")
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    assert shapes == {
        "W_enc": (D_MODEL, D_SAE),
        "W_dec": (D_SAE, D_MODEL),
        "b_enc": (D_SAE,),
        "b_dec": (D_MODEL,),
        "threshold": (D_SAE,),
    }
    modes = {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert len(modes) == 1  # the tensors may be read by whoever may read the configuration
    assert tensors["W_enc"].dtype is tensors["W_dec"].dtype is dtype


def test_a_relu_sae_becomes_a_jumprelu_with_thresholds_of_zero(tmp_path: Path) -> None:
    sae = an_sae(Architecture.RELU)
    stored = write_saelens(tmp_path, sae, weights="float32")
    h = residual_stream()
    assert stored.weights.architecture is Architecture.JUMPRELU
    assert torch.equal(stored.weights.encode(h), sae.weights.encode(h))


def test_what_is_unknown_stays_unknown_and_stale_scales_go(tmp_path: Path) -> None:
    write_saelens(tmp_path, an_sae())
    stored = write_saelens(tmp_path, replace(an_sae(), median_norm=None, scales=None))
    assert stored.median_norm is None
    assert stored.scales is None
    assert not (tmp_path / "hearth.safetensors").exists()


def test_a_topk_sae_reads_back_bit_for_bit_in_the_layout_of_sae_lens(tmp_path: Path) -> None:
    sae = an_sae(Architecture.TOPK)
    sae = replace(sae, weights=replace(sae.weights, k=3))
    sae = replace(sae, weights_digest=sae.weights.digest())
    assert_same(write_saelens(tmp_path, sae, weights="float32"), sae)
    config = json.loads((tmp_path / "cfg.json").read_text())
    assert (config["architecture"], config["k"], config["rescale_acts_by_decoder_norm"]) == ("topk", 3, False)
    assert set(load_file(tmp_path / "sae_weights.safetensors")) == {"W_enc", "W_dec", "b_enc", "b_dec"}


def test_a_gated_sae_keeps_its_gate(tmp_path: Path) -> None:
    sae = load_sae(saelens_folder(tmp_path / "theirs", "gated"))
    stored = write_saelens(tmp_path / "ours", sae, weights="float32")
    assert stored.weights.architecture is Architecture.GATED
    h = residual_stream()
    torch.testing.assert_close(stored.weights.encode(h), sae.weights.encode(h), rtol=1e-5, atol=1e-5)
    assert (stored.weights.encode(h) > 0).any()
    assert set(load_file(tmp_path / "ours" / "sae_weights.safetensors")) == {
        "W_enc",
        "W_dec",
        "b_dec",
        "b_gate",
        "b_mag",
        "r_mag",
    }


def test_weights_beyond_float16_are_refused(tmp_path: Path) -> None:
    sae = an_sae()
    large = replace(sae, weights=replace(sae.weights, W_dec=sae.weights.W_dec * 1e5))
    with pytest.raises(SaeFormatError, match=r"W_dec: expected numbers that torch\.float16 can hold"):
        write_saelens(tmp_path, large)
    assert write_saelens(tmp_path, large, weights="float32").weights_digest == large.weights.digest()


def test_scales_of_another_size_are_refused_at_load(tmp_path: Path) -> None:
    write_saelens(tmp_path, replace(an_sae(), scales=torch.ones(D_SAE)))
    save_file({"scales": torch.ones(D_SAE + 1)}, tmp_path / "hearth.safetensors")
    with pytest.raises(SaeFormatError, match=r"hearth\.safetensors: scales: expected shape"):
        load_sae(tmp_path)

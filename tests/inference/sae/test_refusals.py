"""What a file gets wrong is named: the file, the tensor or key, what was expected and what was found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from services.inference.sae.errors import SaeFormatError
from services.inference.sae.formats import load_sae
from tests.inference.sae.file_writers import (
    D_MODEL,
    D_SAE,
    SAELENS_TENSORS,
    flat_saelens_config,
    gemma_scope_file,
    goodfire_file,
    numbers,
    saelens_config,
    saelens_folder,
    sparsify_folder,
    write_saelens_folder,
)


class Malicious:
    """Unpickling this would call a function."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("unpickled",))


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        ({"normalize_activations": "layer_norm"}, "normalize_activations", "cannot be folded in"),
        ({"normalize_activations": "constant_norm_rescale"}, "normalize_activations", "cannot be folded in"),
        ({"normalize_activations": "covariance_whitening"}, "normalize_activations", "cannot be folded in"),
        (
            {"normalize_activations": "expected_average_only_in"},
            "normalize_activations",
            "norm_scaling_factor",
        ),
        ({"architecture": "temporal"}, "architecture", "'jumprelu'"),
        ({"reshape_activations": "hook_z"}, "reshape_activations", "'none'"),
        ({"metadata": {"hook_name": "blocks.3.hook_mlp_out"}}, "hook_name", "a block's output"),
        ({"metadata": {"hook_name": "blocks.0.hook_resid_pre"}}, "hook_name", "a block's output"),
        ({"metadata": {}}, "hook_name", "a block's output"),
        ({"metadata": {"hook_name": "h.1", "hook_head_index": 2}}, "hook_head_index", "None"),
        ({"activation_fn": "tanh-relu"}, "activation_fn", "'relu' or 'topk'"),
        ({"d_in": "6"}, "d_in", "a positive whole number"),
        ({"d_sae": None}, "d_sae", "a positive whole number"),
        ({"architecture": "topk"}, "k", "a positive whole number"),
        ({"architecture": "topk", "k": 0}, "k", "a positive whole number"),
        ({"apply_b_dec_to_input": "yes"}, "apply_b_dec_to_input", "True or False"),
    ],
)
def test_saelens_configurations_that_cannot_be_served_exactly(
    tmp_path: Path, changes: dict[str, Any], key: str, expected: str
) -> None:
    with pytest.raises(SaeFormatError) as caught:
        load_sae(saelens_folder(tmp_path, "standard", **changes))
    assert caught.value.file == tmp_path / "cfg.json"
    assert caught.value.tensor == key
    assert expected in caught.value.expected


@pytest.mark.parametrize(
    ("tensor", "shape"),
    [
        ("W_enc", (D_SAE, D_MODEL)),
        ("W_dec", (D_SAE, D_MODEL + 1)),
        ("b_enc", (D_MODEL,)),
        ("b_dec", (1, D_MODEL)),
    ],
)
def test_saelens_shapes_that_disagree_with_the_configuration(
    tmp_path: Path, tensor: str, shape: tuple[int, ...]
) -> None:
    tensors = {name: numbers()[name] for name in SAELENS_TENSORS["standard"]} | {tensor: torch.zeros(shape)}
    with pytest.raises(SaeFormatError) as caught:
        load_sae(write_saelens_folder(tmp_path, saelens_config("standard"), tensors))
    assert caught.value.file == tmp_path / "sae_weights.safetensors"
    assert caught.value.tensor == tensor
    assert caught.value.found == str(list(shape))
    assert tensor in str(caught.value)


@pytest.mark.parametrize(
    ("architecture", "tensor"), [("jumprelu", "threshold"), ("gated", "r_mag"), ("topk", "b_dec")]
)
def test_saelens_tensors_that_are_missing(tmp_path: Path, architecture: str, tensor: str) -> None:
    tensors = {name: numbers()[name] for name in SAELENS_TENSORS[architecture] if name != tensor}
    with pytest.raises(SaeFormatError, match=rf"{tensor}: expected a tensor \[.*only W_dec"):
        load_sae(write_saelens_folder(tmp_path, saelens_config(architecture), tensors))


def test_saelens_tensors_of_whole_numbers(tmp_path: Path) -> None:
    tensors = {name: numbers()[name] for name in SAELENS_TENSORS["standard"]}
    tensors["b_enc"] = torch.zeros(D_SAE, dtype=torch.int64)
    with pytest.raises(SaeFormatError, match=r"b_enc: expected floating point numbers, found torch\.int64"):
        load_sae(write_saelens_folder(tmp_path, saelens_config("standard"), tensors))


def test_saelens_scales_that_the_configuration_denies(tmp_path: Path) -> None:
    tensors = {name: numbers()[name] for name in SAELENS_TENSORS["standard"]}
    tensors["scaling_factor"] = torch.full((D_SAE,), 2.0)
    with pytest.raises(SaeFormatError, match="scaling_factor: expected ones"):
        load_sae(write_saelens_folder(tmp_path, flat_saelens_config(), tensors))


def test_a_scale_for_an_sae_that_takes_none(tmp_path: Path) -> None:
    with pytest.raises(SaeFormatError, match="takes no norm_scaling_factor"):
        load_sae(saelens_folder(tmp_path, "standard"), norm_scaling_factor=0.5)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_is_none(tmp_path: Path, scale: float) -> None:
    folder = saelens_folder(tmp_path, "standard", normalize_activations="expected_average_only_in")
    with pytest.raises(SaeFormatError, match="a positive norm_scaling_factor"):
        load_sae(folder, norm_scaling_factor=scale)


@pytest.mark.parametrize("text", ["{", "[]", "\x00"])
def test_a_configuration_that_does_not_parse(tmp_path: Path, text: str) -> None:
    folder = saelens_folder(tmp_path, "standard")
    (folder / "cfg.json").write_text(text)
    with pytest.raises(SaeFormatError, match=r"cfg\.json: expected a JSON"):
        load_sae(folder)


def test_weights_that_are_cut_short(tmp_path: Path) -> None:
    folder = saelens_folder(tmp_path, "standard")
    file = folder / "sae_weights.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(SaeFormatError, match=r"sae_weights\.safetensors: expected a safetensors file"):
        load_sae(folder)


def test_gemma_scope_without_a_layer_anywhere(tmp_path: Path) -> None:
    folder = gemma_scope_file(tmp_path / "sae")
    with pytest.raises(SaeFormatError, match="or the layer as an option"):
        load_sae(folder)
    assert load_sae(folder, layer=7).layer == 7


@pytest.mark.parametrize(
    "site", ["gemma-scope-2b-pt-mlp/layer_3", "gemma-scope-9b-pt-att/layer_3", "embedding/width_4k"]
)
def test_gemma_scope_of_other_sites(tmp_path: Path, site: str) -> None:
    with pytest.raises(SaeFormatError, match="an SAE of the residual stream"):
        load_sae(gemma_scope_file(tmp_path / site), layer=3)


def test_gemma_scope_shapes_that_disagree(tmp_path: Path) -> None:
    folder = gemma_scope_file(tmp_path / "layer_1", threshold=np.zeros(D_SAE + 1, dtype=np.float32))
    with pytest.raises(
        SaeFormatError, match=rf"params\.npz: threshold: expected shape \[{D_SAE}\], found \[{D_SAE + 1}\]"
    ):
        load_sae(folder)


def test_gemma_scope_with_pickled_objects(tmp_path: Path) -> None:
    folder = gemma_scope_file(tmp_path / "layer_1", threshold=np.array([Malicious()], dtype=object))
    with pytest.raises(SaeFormatError, match=r"an \.npz file of plain arrays"):
        load_sae(folder)


def test_gemma_scope_that_is_no_archive(tmp_path: Path) -> None:
    file = gemma_scope_file(tmp_path / "layer_1") / "params.npz"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(SaeFormatError, match="one that does not parse"):
        load_sae(file)


def test_goodfire_without_a_layer_anywhere(tmp_path: Path) -> None:
    file = goodfire_file(tmp_path / "sae.pth")
    with pytest.raises(SaeFormatError, match="ends in -l<layer>"):
        load_sae(file)
    assert load_sae(file, layer=19).layer == 19


def test_goodfire_with_pickled_objects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = goodfire_file(tmp_path / "sae-l1.pth", extra=Malicious())
    with pytest.raises(SaeFormatError, match="a state dict of plain tensors"):
        load_sae(file)
    assert capsys.readouterr().out == ""


def test_goodfire_that_holds_something_else(tmp_path: Path) -> None:
    torch.save(torch.zeros(3), tmp_path / "a-l1.pth")
    with pytest.raises(SaeFormatError, match="a state dict of plain tensors, found Tensor"):
        load_sae(tmp_path / "a-l1.pth")
    (tmp_path / "b-l1.pth").write_bytes(b"not torch's")
    with pytest.raises(SaeFormatError, match="one that does not load"):
        load_sae(tmp_path / "b-l1.pth")


def test_goodfire_shapes_that_disagree(tmp_path: Path) -> None:
    file = goodfire_file(tmp_path / "sae-l1.pth", **{"decoder_linear.weight": torch.zeros(D_SAE, D_MODEL)})
    with pytest.raises(
        SaeFormatError, match=rf"decoder_linear\.weight: expected shape \[{D_MODEL}, {D_SAE}\]"
    ):
        load_sae(file)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("activation", "groupmax"),
        ("transcode", True),
        ("skip_connection", True),
        ("signed", True),
        ("k", None),
    ],
)
def test_sparsify_kinds_that_are_not_topk_saes(tmp_path: Path, key: str, value: Any) -> None:
    with pytest.raises(SaeFormatError) as caught:
        load_sae(sparsify_folder(tmp_path / "layers.1", **{key: value}))
    assert caught.value.tensor == key


def test_sparsify_of_other_sites(tmp_path: Path) -> None:
    with pytest.raises(SaeFormatError, match="named after a block's output"):
        load_sae(sparsify_folder(tmp_path / "layers.1.mlp"))


def test_sparsify_shapes_that_disagree(tmp_path: Path) -> None:
    folder = sparsify_folder(tmp_path / "layers.1", {"W_dec": torch.zeros(D_MODEL, D_SAE)})
    with pytest.raises(SaeFormatError, match=rf"W_dec: expected shape \[{D_SAE}, {D_MODEL}\]"):
        load_sae(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [("version", 2), ("weights_digest", "0" * 64), ("median_norm", -1.0), ("strength_constant", None)],
)
def test_side_files_that_do_not_belong_to_the_weights(tmp_path: Path, key: str, value: Any) -> None:
    folder = saelens_folder(tmp_path, "standard")
    side = {
        "version": 1,
        "id": "x",
        "weights_digest": load_sae(folder).weights_digest,
        "median_norm": 170.8,
        "strength_constant": 0.6,
        "card": {},
    }
    (folder / "hearth.json").write_text(json.dumps(side))
    assert load_sae(folder).median_norm == 170.8
    (folder / "hearth.json").write_text(json.dumps(side | {key: value}))
    with pytest.raises(SaeFormatError, match=rf"hearth\.json: {key}"):
        load_sae(folder)

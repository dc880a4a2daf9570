"""BERT by torch alone: the vectors of sentence-transformers, without loading it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from services.encoder.bert import TOKENIZER, WEIGHTS, BertEncoder, is_bert
from services.encoder.minilm import load_encoder

TEXTS = [
    "pirate",
    "",
    "  The ship sailed\n at dawn. ",
    "Ünïcödé, 漢字 and 😀",
    "long " * 400,  # cut at 256 tokens
    "x" * 300,
    "[SEP] [CLS] [MASK] special",
    *(f"words {'and more ' * count}" for count in range(70)),  # more than one batch
]
pytestmark = pytest.mark.model


def test_vectors_are_those_of_sentence_transformers(sentence_encoder: Path) -> None:
    model = SentenceTransformer(str(sentence_encoder), device="cpu", local_files_only=True)
    wanted = model.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    encode = BertEncoder(sentence_encoder)
    found = encode(TEXTS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=2e-6)
    np.testing.assert_allclose(encode(TEXTS[:1]), wanted[:1], atol=2e-6)
    assert encode([]).shape == (0, wanted.shape[1])


def test_it_loads_neither_sentence_transformers_nor_transformers(sentence_encoder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from services.encoder.minilm import load_encoder\n"
        "assert load_encoder(Path(sys.argv[1]))(['sea']).shape == (1, 384)\n"
        "print([name for name in ('sentence_transformers', 'transformers', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(sentence_encoder)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.fixture
def copied(sentence_encoder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sentence_encoder, tmp_path / "encoder"))


def change(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_another_pooling_is_left_to_sentence_transformers(copied: Path) -> None:
    assert is_bert(copied)
    mean = load_encoder(copied)(["the sea"])
    change(copied / "1_Pooling" / "config.json", pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    assert not is_bert(copied)
    first = load_encoder(copied)(["the sea"])
    assert first.shape == mean.shape
    assert float((first @ mean.T)[0, 0]) < 0.99


@pytest.mark.parametrize(
    "config", [{"model_type": "roberta"}, {"hidden_act": "relu"}, {"position_embedding_type": "relative_key"}]
)
def test_another_architecture_is_not_read(copied: Path, config: dict[str, str]) -> None:
    change(copied / "config.json", **config)
    assert not is_bert(copied)


@pytest.mark.parametrize("file", [WEIGHTS, TOKENIZER])
def test_a_damaged_file_is_named(copied: Path, file: str) -> None:
    (copied / file).write_bytes(b"\x00" * 40)
    with pytest.raises(ValueError, match=file):
        load_encoder(copied)


def test_a_setting_or_weight_that_is_missing_is_named(copied: Path) -> None:
    change(copied / "config.json", num_hidden_layers=7)
    with pytest.raises(ValueError, match=r"damaged: .*encoder\.layer\.6.* is missing"):
        load_encoder(copied)

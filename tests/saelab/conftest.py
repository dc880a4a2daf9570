"""The tiny lab: made once, read by all tests of the SAE lab."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from services.saelab.activations import collect
from services.saelab.shards import ShardFolder
from tests.saelab.tiny_lab import activation_settings, make_corpus, make_model, make_texts


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    return make_corpus(folder, make_texts(folder / "texts.jsonl"))


@pytest.fixture(scope="session")
def tiny_shards(tmp_path_factory: pytest.TempPathFactory, tiny_corpus: Path, tiny_model: Path) -> ShardFolder:
    return collect(activation_settings(tiny_corpus, tiny_model, tmp_path_factory.mktemp("shards")))

"""The lab on a GPU, where there is one (skipped elsewhere): as a user runs it, beside the same on a CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from services.inference.sae.formats import load_sae
from services.saelab.shards import ShardFolder
from tests.saelab.test_pipeline import run
from tests.saelab.tiny_lab import HOOK, make_texts, make_topics

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
FEW = ("--new-tokens", 6, "--threads", 1)


@pytest.fixture(scope="module", params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def lab(device: str, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A folder with corpus, shards and a trained SAE, all made on the device."""
    folder = tmp_path_factory.mktemp(device)
    corpus, shards = folder / "corpus", folder / "activations"
    run("corpus", make_texts(folder / "texts.jsonl"), "--no-sources", "--out", corpus)
    where = ("--model", tiny_model, "--device", device)
    run("activations", *where, "--corpus", corpus, "--out", shards, "--hook-point", HOOK, "--tokens", 3000)
    given = ("--corpus", corpus, "--activations", shards, "--device", device)
    run(
        *(
            "train",
            folder / "sae",
            *given,
            "--run",
            folder / "run",
            "--features",
            64,
            "--k",
            4,
            "--batch",
            64,
        ),
        *("--epochs", 2, "--max-density", 0.2, "--threads", 1),
    )
    run("evaluate", folder / "sae", *given, "--model", tiny_model, "--cross-entropy-tokens", 500)
    return folder


def test_the_same_activations_are_collected(device: str, lab: Path) -> None:
    shard = ShardFolder(lab / "activations").read(0)
    assert bool(torch.isfinite(shard.activations).all())
    assert json.loads((lab / "sae" / "metrics.json").read_text())["plain"]["variance_explained"] > 0.2
    assert load_sae(lab / "sae").scales is not None


def test_features_are_measured(device: str, lab: Path, tiny_model: Path) -> None:
    run(
        *("features", lab / "sae", "--model", tiny_model, "--device", device, "--corpus", lab / "corpus"),
        *(
            "--activations",
            lab / "activations",
            "--text",
            lab / "corpus" / "train.jsonl",
            "--run",
            lab / "features",
            "--sample",
            5,
            *FEW,
        ),
    )
    assert (lab / "sae" / "features.parquet").exists()


def test_topics_are_steered(device: str, lab: Path, tiny_model: Path) -> None:
    topics = make_topics(lab / "topics.toml")
    run(
        *("steer", lab / "sae", "--model", tiny_model, "--device", device, "--topics", topics, "--calibrate"),
        *("--journal", lab / "steer.jsonl", "--by-activation", 1, "--no-second-judge", *FEW),
    )
    assert json.loads((lab / "sae" / "steering.json").read_text())

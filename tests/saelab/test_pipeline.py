"""The whole pipeline as a user runs it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.inference.sae.formats import load_sae
from services.saelab.cli import sae_app
from services.saelab.shards import ShardFolder
from tests.saelab.tiny_lab import HOOK, make_texts, make_topics


def run(*arguments: object) -> str:
    result = CliRunner().invoke(sae_app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def fails(*arguments: object) -> str:
    result = CliRunner().invoke(sae_app, [str(argument) for argument in arguments])
    assert result.exit_code == 1
    return " ".join(result.output.split())


def test_the_pipeline_runs_from_text_to_card_on_a_tiny_model(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEARTH_CACHE", str(tmp_path / "cache"))
    sae = tmp_path / "tiny-l1"
    started = time.monotonic()
    run("corpus", make_texts(tmp_path / "texts.jsonl"), "--no-sources")
    run("activations", "--model", tiny_model, "--hook-point", HOOK, "--tokens", 3000, "--window", 64)
    run("train", sae, "--features", 64, "--k", 4, "--batch", 64, "--epochs", 3, "--threads", 1)
    run("evaluate", sae, "--model", tiny_model, "--cross-entropy-tokens", 500, "--threads", 1)
    topics = make_topics(tmp_path / "topics.toml")
    few = ("--by-activation", 1, "--new-tokens", 6, "--threads", 1, "--no-second-judge")
    run("steer", sae, "--model", tiny_model, "--topics", topics, *few)
    run("card", sae)
    assert time.monotonic() - started < 60
    loaded = load_sae(sae)
    assert loaded.id == "tiny-l1"
    assert loaded.hook_point == HOOK
    assert loaded.median_norm
    metrics = json.loads((sae / "metrics.json").read_text())
    assert 0 < metrics["plain"]["variance_explained"] < 1
    card = (sae / "README.md").read_text()
    assert f"{metrics['plain']['variance_explained']:.3f}" in card
    assert f"{metrics['chat']['cross_entropy_spliced']:.3f}" in card
    assert "hearth sae train models/tiny-l1 --features 64 --k 4 --epochs 3" in card
    assert "| sea |" in card
    assert "## Texts" in (sae / "steering.md").read_text()
    assert (sae / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_steps_out_of_order_say_which_comes_first(
    tmp_path: Path, tiny_model: Path, tiny_corpus: Path
) -> None:
    missing = tmp_path / "missing"
    assert "hearth sae corpus" in fails("activations", "--corpus", missing, "--out", tmp_path / "a")
    assert "collect them first" in fails(
        "train", tmp_path / "sae", "--corpus", tiny_corpus, "--activations", missing, "--run", tmp_path / "r"
    )
    assert "hearth sae train" in fails("card", tmp_path)


def test_a_wrong_hook_is_told_in_one_line(tmp_path: Path, tiny_model: Path, tiny_corpus: Path) -> None:
    told = fails(
        "activations",
        "--corpus",
        tiny_corpus,
        "--out",
        tmp_path,
        "--model",
        tiny_model,
        "--hook-point",
        "layers.99",
    )
    assert "no 'layers.99'; its blocks are model.layers.0 to model.layers.3" in told


def test_a_corrupt_shard_is_told_in_one_line(
    tmp_path: Path, tiny_corpus: Path, tiny_shards: ShardFolder
) -> None:
    for index in tiny_shards.indices():
        (tmp_path / tiny_shards.path(index).name).write_bytes(tiny_shards.path(index).read_bytes())
    (tmp_path / "run.json").write_bytes((tiny_shards.folder / "run.json").read_bytes())
    broken = ShardFolder(tmp_path).path(0)
    broken.write_bytes(broken.read_bytes()[:-7])
    told = fails(
        "train", tmp_path / "sae", "--corpus", tiny_corpus, "--activations", tmp_path, "--run", tmp_path / "r"
    )
    assert "shard-00000.safetensors cannot be read" in told

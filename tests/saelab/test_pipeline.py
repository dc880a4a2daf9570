"""The whole pipeline as a user runs it, and its last steps: steering features and the card."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from services.inference.sae.formats import load_sae
from services.saelab.cli import sae_app
from services.saelab.shards import ShardFolder
from services.saelab.steer import Trial, distinct_runs, judged, topic_words
from tests.saelab.tiny_lab import HOOK, make_texts


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
    run("steer", sae, "--model", tiny_model, "--candidates", 1, "--threads", 1)
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


def test_topic_words_are_counted_by_stem_and_short_ones_whole() -> None:
    assert topic_words("The seaside ships; a sea.", ["sea", "ship"]) == pytest.approx(100 * 2 / 5)


def test_repeated_runs_of_words_lower_distinctness() -> None:
    assert distinct_runs("a b c d e f") == 1.0
    assert distinct_runs("a b c a b c a b c") == pytest.approx(3 / 7)
    assert distinct_runs("a b") == 0.0


def test_a_fluent_trial_beats_a_stronger_one_that_is_not() -> None:
    fluent = Trial("sea", 1, 0.4, gain=8.0, loss=0.5, distinct=0.9, samples=())
    broken = Trial("sea", 2, 0.6, gain=40.0, loss=2.5, distinct=0.3, samples=())
    dull = Trial("sea", 3, 0.5, gain=1.0, loss=0.0, distinct=1.0, samples=())
    assert judged([broken, dull, fluent]) is fluent
    assert (fluent.steers, broken.steers, dull.steers) == (True, False, False)


def test_a_nudge_moves_the_stream_by_its_strength_and_spares_the_first_position(
    tmp_path: Path, tiny_model: Path
) -> None:
    from services.saelab.activations import load_tokenizer
    from services.saelab.residual import HookedModel
    from services.saelab.steer import SteerSettings, _Writer
    from tests.saelab.test_evaluate import random_sae

    sae = random_sae()
    sae = type(sae)(**{name: getattr(sae, name) for name in sae.__slots__} | {"median_norm": 100.0})
    model = HookedModel.load(tiny_model, HOOK)
    writer = _Writer(
        SteerSettings(tmp_path, str(tiny_model), new_tokens=4), sae, model, load_tokenizer(str(tiny_model))
    )
    seen: list[torch.Tensor] = []
    above = model.model.get_submodule("model.layers.2")
    handle = above.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    writer.texts("the sea", [(5, 0.5), (5, 0.0)])
    handle.remove()
    moved = seen[0][0] - seen[0][1]
    assert torch.equal(moved[0], torch.zeros_like(moved[0]))
    expected = (0.5 * 0.6 * 100.0 * sae.weights.W_dec[5]).expand_as(moved[1:])
    torch.testing.assert_close(moved[1:], expected, rtol=1e-4, atol=1e-4)

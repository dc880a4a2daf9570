"""What the lab does when it is killed, when the disk is full, when files are broken: real kills and a real limit."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from services.inference.sae.formats import load_sae
from services.inference.sae.write_saelens import write_saelens
from services.saelab import heldout, reference
from services.saelab.activations import collect
from services.saelab.batch_topk import gradients
from services.saelab.cli import sae_app
from services.saelab.documents import MANIFEST
from services.saelab.errors import SaeLabError
from services.saelab.evaluate import evaluate
from services.saelab.evaluation_report import METRICS
from services.saelab.export import TRAINING
from services.saelab.pipeline import train_and_save
from services.saelab.reference import feature_statistics
from services.saelab.shards import ShardFolder
from services.saelab.steer import SteerSettings, find_steering_features
from services.saelab.steering_candidates import CandidateSettings
from services.saelab.steering_found import STEERING
from services.saelab.train import CHECKPOINT, train
from tests.saelab.test_evaluate import random_sae, settings_of
from tests.saelab.tiny_lab import activation_settings, make_corpus, make_texts, make_topics, train_settings


def killed_when(there: Callable[[], bool], work: Callable[[], Any]) -> None:
    """Does the work in a process of its own, and kills that with SIGKILL as soon as something is there."""
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    deadline = time.monotonic() + 30
    while not there() and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.002)
    assert process.is_alive(), "it ended before it could be killed"
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """Inside, the system lets no file grow beyond so many bytes: writing more fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if "partial" in path.name or ".tmp" in path.name)


@pytest.fixture
def evaluated(tmp_path: Path, tiny_shards: ShardFolder) -> Path:
    """An SAE with scales."""
    folder = tmp_path / "sae"
    statistics = feature_statistics(random_sae(0.2), tiny_shards, 10**9)
    sae = replace(random_sae(0.2), scales=statistics.scales, median_norm=statistics.median_norm)
    write_saelens(folder, sae)
    return folder


def steer_settings(tmp_path: Path, folder: Path, model: Path) -> SteerSettings:
    topics = make_topics(tmp_path / "topics.toml")
    settings = SteerSettings(
        folder, str(model), tmp_path / "steered.jsonl", topics, CandidateSettings(3, 0, 0), 2
    )
    return replace(settings, new_tokens=6, rows=4, threads=1, strengths=(0.5, 1.0))


# --- kill -9 --------------------------------------------------------------------------------------------------------


def test_collecting_goes_on_after_kill_9(tmp_path: Path, tiny_corpus: Path, tiny_model: Path) -> None:
    whole = collect(activation_settings(tiny_corpus, tiny_model, tmp_path / "whole"))
    settings = activation_settings(tiny_corpus, tiny_model, tmp_path / "killed")
    folder = ShardFolder(settings.out)
    for count in (1, 2):
        killed_when(lambda count=count: len(folder.indices()) >= count, lambda: collect(settings))  # type: ignore[misc]
    kept = folder.path(0).stat().st_mtime_ns
    collect(settings)
    assert folder.path(0).stat().st_mtime_ns == kept
    assert folder.indices() == whole.indices()
    for index in whole.indices():
        mine, theirs = folder.read(index), whole.read(index)
        assert torch.equal(mine.activations, theirs.activations)
        assert torch.equal(mine.norms, theirs.norms)


def test_training_goes_on_after_kill_9(tmp_path: Path, tiny_shards: ShardFolder) -> None:
    options = {"prefixes": (16,), "max_density": 0.2, "epochs": 6}
    whole = train(train_settings(tiny_shards.folder, tmp_path / "whole", **options))
    settings = train_settings(tiny_shards.folder, tmp_path / "killed", checkpoint_seconds=0.0, **options)
    path = tmp_path / "killed" / CHECKPOINT
    for _ in range(3):
        before = path.stat().st_mtime_ns if path.exists() else 0
        killed_when(
            lambda before=before: path.exists() and path.stat().st_mtime_ns > before,  # type: ignore[misc]
            lambda: train(settings),
        )
    resumed = train(settings)
    assert resumed.curves == whole.curves
    assert torch.equal(resumed.thresholds, whole.thresholds)
    for name, tensor in resumed.parameters.tensors().items():
        assert torch.equal(tensor, whole.parameters.tensors()[name]), name


def test_evaluating_goes_on_after_kill_9(
    tmp_path: Path,
    tiny_corpus: Path,
    tiny_model: Path,
    tiny_shards: ShardFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = {}
    for name in ("whole", "killed"):
        write_saelens(tmp_path / name, random_sae(0.2))
        settings[name] = settings_of(tmp_path / name, tiny_corpus, tiny_shards, tiny_model)
        settings[name] = replace(settings[name], heldout=replace(settings[name].heldout, batch=1))
    whole = evaluate(settings["whole"])
    monkeypatch.setattr(heldout, "SAVE_SECONDS", -1.0)
    monkeypatch.setattr(reference, "SAVE_SECONDS", -1.0)
    work = settings["killed"].work
    for stage in ("reference", "plain"):
        killed_when(
            lambda stage=stage: any(work.glob(f"{stage}-*.safetensors")),  # type: ignore[misc]
            lambda: evaluate(settings["killed"]),
        )
    assert not (tmp_path / "killed" / METRICS).exists()
    assert evaluate(settings["killed"]) == whole
    assert leftovers(tmp_path / "killed") == []


def test_steering_goes_on_after_kill_9(
    tmp_path: Path, tiny_model: Path, evaluated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEARTH_CACHE", str(tmp_path / "cache"))
    settings = steer_settings(tmp_path, evaluated, tiny_model)
    whole = find_steering_features(replace(settings, journal=tmp_path / "whole.jsonl"))
    journal = settings.journal
    killed_when(
        lambda: journal.exists() and journal.read_bytes().count(b"\n") > 4,
        lambda: find_steering_features(settings),
    )
    kept = journal.read_bytes().rpartition(b"\n")[0].splitlines()
    assert find_steering_features(settings) == whole
    assert journal.read_bytes().splitlines()[: len(kept)] == kept


# --- A full disk ----------------------------------------------------------------------------------------------------


def test_a_full_disk_stops_every_stage_with_words_and_leaves_what_was_there(
    tmp_path: Path,
    tiny_corpus: Path,
    tiny_model: Path,
    tiny_shards: ShardFolder,
    evaluated: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HEARTH_CACHE", str(tmp_path / "cache"))
    texts = make_texts(tmp_path / "texts.jsonl")
    make_corpus(tmp_path / "corpus", texts)
    before = (tmp_path / "corpus" / MANIFEST).read_bytes()
    settings = activation_settings(tiny_corpus, tiny_model, tmp_path / "shards")
    run = train_settings(tiny_shards.folder, tmp_path / "run", epochs=1)
    scales = load_sae(evaluated).scales
    assert scales is not None
    steering = steer_settings(tmp_path, evaluated, tiny_model)
    stages: dict[str, Callable[[], Any]] = {
        "corpus": lambda: make_corpus(tmp_path / "corpus", texts),
        "activations": lambda: collect(settings),
        "train": lambda: train(run),
        "evaluate": lambda: evaluate(settings_of(evaluated, tiny_corpus, tiny_shards, tiny_model)),
        "steer": lambda: find_steering_features(steering),
    }
    for name, stage in stages.items():
        with disk_of(2_000), pytest.raises(SaeLabError, match="free some space"):
            stage()
        assert leftovers(tmp_path) == [], name
    assert (tmp_path / "corpus" / MANIFEST).read_bytes() == before
    assert ShardFolder(settings.out).indices() == []
    assert not (tmp_path / "run" / CHECKPOINT).exists()
    torch.testing.assert_close(load_sae(evaluated).scales, scales, rtol=0, atol=0)
    assert not (evaluated / STEERING).exists()


def test_a_disk_that_fills_while_the_sae_is_saved_costs_nothing_but_the_saving(
    tmp_path: Path, tiny_corpus: Path, tiny_shards: ShardFolder
) -> None:
    settings = train_settings(tiny_shards.folder, tmp_path / "run", epochs=1)
    trained = train(settings)
    out = tmp_path / "sae"
    with disk_of(3_000), pytest.raises(SaeLabError, match="free some space"):
        train_and_save(settings, tiny_corpus, out, "tiny")
    assert leftovers(out) == []
    stored = train_and_save(settings, tiny_corpus, out, "tiny")
    assert json.loads((out / TRAINING).read_text())["steps"] == trained.curves[-1].step
    assert stored.weights.d_sae == 64


def test_a_full_disk_is_one_line_of_the_command(tmp_path: Path) -> None:
    texts = make_texts(tmp_path / "texts.jsonl")
    with disk_of(2_000):
        result = CliRunner().invoke(
            sae_app, ["corpus", str(texts), "--no-sources", "--out", str(tmp_path / "corpus")]
        )
    assert result.exit_code == 1
    told = " ".join(result.output.split())
    assert "error:" in told
    assert "could not be written (File too large)" in told
    assert "Traceback" not in told


# --- Numbers that are none, files that are broken -------------------------------------------------------------------


def test_a_loss_that_is_not_finite_ends_training_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, tiny_shards: ShardFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = train_settings(tiny_shards.folder, tmp_path)
    train(settings, stop_at=5)
    good = (tmp_path / CHECKPOINT).read_bytes()

    def broken(*arguments: Any, **named: Any) -> Any:
        return replace(gradients(*arguments, **named), loss=float("nan"))

    monkeypatch.setattr("services.saelab.train.gradients", broken)
    with pytest.raises(SaeLabError, match="the loss is nan at step 5"):
        train(settings)
    assert (tmp_path / CHECKPOINT).read_bytes() == good


@pytest.mark.parametrize("name", ["metrics.json", "training.json", "steering.json"])
def test_a_broken_record_is_named_with_the_step_that_makes_it(
    tmp_path: Path, tiny_corpus: Path, tiny_shards: ShardFolder, name: str
) -> None:
    train_and_save(
        train_settings(tiny_shards.folder, tmp_path / "run", epochs=1), tiny_corpus, tmp_path, "tiny"
    )
    (tmp_path / METRICS).write_text("{}")
    (tmp_path / name).write_text('{"cut')
    result = CliRunner().invoke(sae_app, ["card", str(tmp_path)])
    step = {"metrics.json": "evaluate", "training.json": "train", "steering.json": "steer"}[name]
    assert result.exit_code == 1
    assert f"{name} is broken" in " ".join(result.output.split())
    assert f"hearth sae {step}" in " ".join(result.output.split())


def test_a_corrupt_state_of_an_evaluation_is_named(
    tmp_path: Path,
    tiny_corpus: Path,
    tiny_model: Path,
    tiny_shards: ShardFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_saelens(tmp_path, random_sae(0.2))
    settings = settings_of(tmp_path, tiny_corpus, tiny_shards, tiny_model)
    monkeypatch.setattr("services.saelab.evaluate._Evaluation.clear", lambda self: None)
    evaluate(settings)
    for path in settings.work.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(SaeLabError, match=r"is broken .* delete it to start again"):
        evaluate(settings)

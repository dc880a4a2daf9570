from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from services.saelab.buffer import Buffer
from services.saelab.errors import RunMismatch, SaeLabError
from services.saelab.export import folded
from services.saelab.recipe import Metrics
from services.saelab.shards import ShardFolder
from services.saelab.train import CHECKPOINT, Trainer, train
from tests.saelab.tiny_lab import train_settings


def rows(activations: Tensor) -> Counter[bytes]:
    """How often each row occurs."""
    return Counter(row.tobytes() for row in activations.numpy())


ALL_OPTIONS = {"prefixes": (8, 24), "max_density": 0.1, "heldout_shards": 1, "epochs": 3}


@pytest.mark.parametrize("options", [{}, ALL_OPTIONS], ids=["plain", "all options"])
def test_a_killed_run_goes_on_and_gives_the_same_sae_bit_for_bit(
    tmp_path: Path, tiny_shards: ShardFolder, options: dict[str, Any]
) -> None:
    whole = train(train_settings(tiny_shards.folder, tmp_path / "whole", **options))
    settings = train_settings(tiny_shards.folder, tmp_path / "killed", checkpoint_seconds=0.0, **options)

    def kill_at(step: int) -> None:
        def progress(metrics: Metrics, steps: int) -> None:
            if metrics.step == step:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(settings, progress)

    kill_at(3)
    kill_at(21)
    (tmp_path / "killed" / "checkpoint.partial").write_bytes(b"half a checkpoint")
    resumed = train(settings)
    assert len(whole.curves) > 40
    assert resumed.curves == whole.curves
    assert torch.equal(resumed.thresholds, whole.thresholds)
    for name, tensor in resumed.parameters.tensors().items():
        assert torch.equal(tensor, whole.parameters.tensors()[name]), name


def test_the_sae_learns(tmp_path: Path, tiny_shards: ShardFolder) -> None:
    trained = train(train_settings(tiny_shards.folder, tmp_path, epochs=6))
    first, last = trained.curves[0], trained.curves[-1]
    assert last.loss < 0.85 * first.loss
    assert last.variance_explained > first.variance_explained > 0
    assert last.l0 == pytest.approx(4, abs=0.01)
    torch.testing.assert_close(trained.parameters.W_dec.norm(dim=1), torch.ones(64))


def test_another_seed_gives_another_sae(tmp_path: Path, tiny_shards: ShardFolder) -> None:
    one, other = (
        train(train_settings(tiny_shards.folder, tmp_path / str(seed), seed=seed), stop_at=2)
        for seed in (0, 1)
    )
    assert not torch.equal(one.parameters.W_dec, other.parameters.W_dec)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path, tiny_shards: ShardFolder) -> None:
    settings = train_settings(tiny_shards.folder, tmp_path)
    train(settings, stop_at=1)
    with pytest.raises(RunMismatch, match="learning_rate"):
        train(replace(settings, learning_rate=1e-3))


def test_a_broken_checkpoint_says_what_to_do(tmp_path: Path, tiny_shards: ShardFolder) -> None:
    settings = train_settings(tiny_shards.folder, tmp_path)
    train(settings, stop_at=1)
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(SaeLabError, match="delete it"):
        train(settings)


def test_too_few_activations_for_a_batch_are_named(tmp_path: Path, tiny_shards: ShardFolder) -> None:
    with pytest.raises(SaeLabError, match="collect more"):
        train(train_settings(tiny_shards.folder, tmp_path, batch=100_000))


@pytest.mark.parametrize(("weight", "revives"), [(1.0, True), (0.0, False)])
def test_the_auxiliary_loss_brings_dead_features_back(
    tmp_path: Path, tiny_shards: ShardFolder, weight: float, revives: bool
) -> None:
    settings = train_settings(
        tiny_shards.folder, tmp_path, epochs=8, revival_weight=weight, learning_rate=5e-3
    )
    trainer = Trainer(settings)
    with torch.no_grad():
        trainer.p.b_enc[:16] = -1.0  # Sometimes above zero, hardly ever among the largest.
        for _ in range(12):
            before = trainer.advance()
        while trainer.step < trainer.buffer.steps:
            after = trainer.advance()
    assert before.dead > 0.1
    assert after.dead < 0.1 if revives else after.dead > 0.15


def test_the_learning_rate_warms_up_and_falls_to_nothing(tmp_path: Path, tiny_shards: ShardFolder) -> None:
    trainer = Trainer(train_settings(tiny_shards.folder, tmp_path, epochs=4))
    steps = trainer.buffer.steps
    rates = [trainer.schedule(step) for step in range(steps)]
    assert rates[0] == 0.25
    assert rates[3 : int(0.7 * steps)] == [1.0] * (int(0.7 * steps) - 3)
    assert rates[-1] == pytest.approx(1 / (0.3 * steps))


def test_an_epoch_shows_every_token_once(tiny_shards: ShardFolder) -> None:
    buffer = Buffer(tiny_shards, tiny_shards.indices(), batch=50, shards_in_memory=2, epochs=2, seed=0)
    seen = rows(torch.cat([buffer.batch(step) for step in range(buffer.steps // 2)]))
    known = rows(torch.cat([shard.activations for shard in tiny_shards]).float())
    assert seen <= known
    assert seen.total() >= known.total() - 50 * 3  # The rest of each group is less than a batch.


def test_folding_back_the_scale_changes_units_and_nothing_else(
    tmp_path: Path, tiny_shards: ShardFolder
) -> None:
    trained = train(train_settings(tiny_shards.folder, tmp_path), stop_at=20)
    p, scale = trained.parameters, trained.scale
    weights = folded(p, trained.thresholds, scale)
    h = tiny_shards.read(0).activations.float()
    assert float((h * scale).norm(dim=1).mean()) == pytest.approx(h.shape[1] ** 0.5, rel=0.05)
    pre = (h * scale - p.b_dec) @ p.W_enc.T + p.b_enc
    f = torch.where(pre > trained.thresholds, pre, 0.0)
    torch.testing.assert_close(weights.encode(h), f / scale, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        weights.decode(f / scale), (f @ p.W_dec + p.b_dec) / scale, rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(weights.W_dec.norm(dim=1), torch.ones(64))


def test_shards_that_come_later_leave_a_started_run_as_it_is(
    tmp_path: Path, tiny_shards: ShardFolder
) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    first, *later = sorted(tiny_shards.folder.glob("shard-*"))
    copy(tiny_shards.folder / "run.json", shards)
    copy(first, shards)
    whole = train(train_settings(shards, tmp_path / "whole"))
    settings = train_settings(shards, tmp_path / "killed")
    train(settings, stop_at=3)
    for path in later:
        copy(path, shards)
    resumed = train(settings)
    assert resumed.tokens_distinct == whole.tokens_distinct == ShardFolder(shards).tokens(0)
    assert torch.equal(resumed.parameters.W_enc, whole.parameters.W_enc)
    assert train(train_settings(shards, tmp_path / "new")).tokens_distinct > whole.tokens_distinct


def test_a_matryoshka_prefix_reconstructs_better_than_that_of_a_plain_sae(
    tmp_path: Path, tiny_shards: ShardFolder
) -> None:
    x = torch.cat([shard.activations for shard in tiny_shards]).float()

    def error_of_prefix(prefixes: tuple[int, ...]) -> float:
        out = tmp_path / str(len(prefixes))
        trained = train(train_settings(tiny_shards.folder, out, epochs=6, prefixes=prefixes))
        weights = folded(trained.parameters, trained.thresholds, trained.scale)
        f = weights.encode(x)
        return float((x - f[:, :16] @ weights.W_dec[:16] - weights.b_dec).square().sum())

    assert error_of_prefix((16,)) < 0.95 * error_of_prefix(())


def test_prefixes_beyond_the_dictionary_are_refused(tmp_path: Path, tiny_shards: ShardFolder) -> None:
    with pytest.raises(SaeLabError, match="between 0 and 64"):
        Trainer(train_settings(tiny_shards.folder, tmp_path, prefixes=(16, 64)))


@pytest.mark.parametrize("cap", [0.0, 0.15])
def test_the_density_cap_holds_and_is_what_holds(
    tmp_path: Path, tiny_shards: ShardFolder, cap: float
) -> None:
    settings = train_settings(tiny_shards.folder, tmp_path, epochs=40, max_density=cap, k=6)
    trained = train(settings)
    x = torch.cat([shard.activations for shard in tiny_shards]).float()
    f = folded(trained.parameters, trained.thresholds, trained.scale).encode(x)
    density = (f > 0).float().mean(0)
    assert bool((density > 0.17).any()) == (cap == 0.0)
    assert float(density.sum()) == pytest.approx(6, rel=0.25)  # The budget goes to other features.


def test_shards_held_out_are_measured_as_the_saved_sae_does_and_not_trained_on(
    tmp_path: Path, tiny_shards: ShardFolder
) -> None:
    *trained_on, aside = tiny_shards.indices()
    trainer = Trainer(train_settings(tiny_shards.folder, tmp_path, heldout_shards=1))
    theirs = rows(torch.cat([tiny_shards.read(index).activations for index in trained_on]).float())
    seen = rows(torch.cat([trainer.buffer.batch(step) for step in range(trainer.buffer.steps)]))
    assert seen <= theirs + theirs  # Two epochs.
    assert trainer.buffer.tokens == sum(map(tiny_shards.tokens, trained_on))

    trained = train(train_settings(tiny_shards.folder, tmp_path, heldout_shards=1))
    weights = folded(trained.parameters, trained.thresholds, trained.scale)
    h = tiny_shards.read(aside).activations.float()
    error = (h - weights.decode(weights.encode(h))).square().sum()
    last = trained.curves[-1]
    expected = 1 - float(error / (h - h.mean(0)).square().sum())
    assert last.heldout_variance_explained == pytest.approx(expected, abs=1e-4)
    assert last.heldout_l0 == pytest.approx(float((weights.encode(h) > 0).sum(1).float().mean()), rel=1e-3)
    assert sum(point.heldout_l0 is not None for point in trained.curves) >= 10


def test_holding_out_everything_is_refused(tmp_path: Path, tiny_shards: ShardFolder) -> None:
    count = len(tiny_shards.indices())
    with pytest.raises(SaeLabError, match="none is left"):
        Trainer(train_settings(tiny_shards.folder, tmp_path, heldout_shards=count))

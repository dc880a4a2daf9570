from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from services.inference.sae.base import Sae
from services.saelab import activation_statistics
from services.saelab.activation_statistics import (
    HISTOGRAM_EDGES,
    ActivationStatistics,
    StatisticsSettings,
    collect_statistics,
)
from services.saelab.errors import CorruptShard, RunMismatch, SaeLabError
from services.saelab.neighbors import decoder_neighbors
from services.saelab.reference import feature_statistics
from services.saelab.shards import ShardFolder
from tests.saelab.test_evaluate import FEATURES, random_sae


@pytest.fixture(scope="module")
def sae(tiny_shards: ShardFolder) -> Sae:
    plain = random_sae()
    assert plain.weights.threshold is not None
    plain.weights.threshold[5] = 1e9
    return replace(plain, scales=feature_statistics(plain, tiny_shards, 10**9).scales)


def collected(sae: Sae, shards: ShardFolder, path: Path, **changes: int) -> ActivationStatistics:
    return collect_statistics(sae, StatisticsSettings(shards.folder, **changes), path / "s.safetensors", {})


def equal(first: ActivationStatistics, second: ActivationStatistics) -> bool:
    assert first.tokens == second.tokens
    names = ("counts", "maxima", "histogram", "neighbors", "similarities")
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in names)


def test_density_and_maximum_are_those_that_evaluate_has(
    tmp_path: Path, tiny_shards: ShardFolder, sae: Sae
) -> None:
    found = collected(sae, tiny_shards, tmp_path)
    known = feature_statistics(sae, tiny_shards, 10**9)
    assert found.tokens == known.tokens
    torch.testing.assert_close(found.density, known.density)
    torch.testing.assert_close(found.maxima, known.maxima)


def test_the_histogram_counts_every_activation_in_units_of_the_scale(
    tmp_path: Path, tiny_shards: ShardFolder, sae: Sae
) -> None:
    found = collected(sae, tiny_shards, tmp_path)
    f = sae.weights.encode(torch.cat([shard.activations for shard in tiny_shards]).float())
    assert sae.scales is not None
    for feature in range(FEATURES):
        bins = [0] * (len(HISTOGRAM_EDGES) - 1)
        for value in (f[:, feature] / sae.scales[feature]).tolist():
            if value > 0:
                inside = [n for n, edge in enumerate(HISTOGRAM_EDGES[:-1]) if value >= edge]
                bins[inside[-1] if inside else 0] += 1
        assert found.histogram[feature].tolist() == bins
        assert sum(bins) == int(found.counts[feature])
    assert int(found.histogram[5].sum()) == 0


def test_coactivation_neighbours_are_those_of_the_largest_cosines_over_tokens(
    tmp_path: Path, tiny_shards: ShardFolder, sae: Sae
) -> None:
    found = collected(sae, tiny_shards, tmp_path, neighbors=4)
    f = sae.weights.encode(torch.cat([shard.activations for shard in tiny_shards]).float())
    unit = torch.nn.functional.normalize(f, dim=0)
    cosines = unit.T @ unit
    cosines.fill_diagonal_(0.0)
    torch.testing.assert_close(found.similarities, cosines.topk(4).values, atol=1e-5, rtol=1e-4)
    for feature, row in enumerate(found.neighbors.tolist()):
        if feature == 5:
            assert row == [-1] * 4
        else:
            torch.testing.assert_close(
                cosines[feature, row], found.similarities[feature], atol=1e-5, rtol=1e-4
            )


def test_coactivation_reads_the_first_tokens_alone(
    tmp_path: Path, tiny_shards: ShardFolder, sae: Sae
) -> None:
    none = collected(sae, tiny_shards, tmp_path, coactive_tokens=0)
    assert bool((none.neighbors == -1).all())
    assert bool((none.counts > 0).any())


def test_decoder_neighbours_are_live_and_nearest(sae: Sae) -> None:
    live = torch.ones(FEATURES, dtype=torch.bool)
    live[[0, 7]] = False
    indices, cosines = decoder_neighbors(3.0 * sae.weights.W_dec, live, 3)
    for feature in range(FEATURES):
        expected = {
            other: float(sae.weights.W_dec[feature] @ sae.weights.W_dec[other])
            for other in range(FEATURES)
            if other not in (0, 7, feature)
        }
        best = sorted(expected, key=lambda other: -expected[other])[:3]
        assert indices[feature].tolist() == best
        assert cosines[feature].tolist() == pytest.approx([expected[other] for other in best], abs=1e-5)


def test_a_killed_pass_goes_on_and_ends_the_same(
    tmp_path: Path, tiny_shards: ShardFolder, sae: Sae, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "whole").mkdir()
    whole = collected(sae, tiny_shards, tmp_path / "whole")
    monkeypatch.setattr(activation_statistics, "SAVE_SECONDS", -1.0)
    read: list[int] = []
    original = ShardFolder.read

    def reading(self: ShardFolder, index: int) -> object:
        read.append(index)
        if len(read) == 3:
            raise KeyboardInterrupt
        return original(self, index)

    monkeypatch.setattr(ShardFolder, "read", reading)
    with pytest.raises(KeyboardInterrupt):
        collected(sae, tiny_shards, tmp_path)
    again = collected(sae, tiny_shards, tmp_path)
    assert read == [0, 1, 2, *tiny_shards.indices()[2:]]
    assert equal(again, whole)
    read.clear()
    assert equal(collected(sae, tiny_shards, tmp_path), whole)
    assert read == []


def test_other_settings_missing_and_corrupt_shards_are_told(
    tmp_path: Path, tiny_shards: ShardFolder, sae: Sae
) -> None:
    path = tmp_path / "s.safetensors"
    with pytest.raises(SaeLabError, match="hearth sae activations"):
        collect_statistics(sae, StatisticsSettings(tmp_path), path, {})
    collect_statistics(sae, StatisticsSettings(tiny_shards.folder), path, {"tokens": 1})
    with pytest.raises(RunMismatch, match="tokens"):
        collect_statistics(sae, StatisticsSettings(tiny_shards.folder), path, {"tokens": 2})
    broken = ShardFolder(tmp_path / "broken")
    broken.folder.mkdir()
    data = bytearray(tiny_shards.path(0).read_bytes())
    data[-1] ^= 1
    broken.path(0).write_bytes(data)
    with pytest.raises(CorruptShard, match="checksum"):
        collected(sae, broken, tmp_path / "other")

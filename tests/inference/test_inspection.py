"""Activations leave as sparse rows: all that fire, largest first, no sinks, in messages that fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from hearth.v1 import inference_service_pb2, prompt_pb2
from services.errors import FeatureOutOfRange, InvalidField
from services.inference import inspection
from services.inference.inspection import (
    SparseRows,
    encoded,
    inspect_runs,
    live_tokens,
    named_features,
    runs,
    sparse_rows,
)
from services.inference.sae.base import Architecture
from tests.inference import reference
from tests.inference.tiny import D_MODEL, random_sae

MESSAGE_LIMIT = 4 << 20


def slow_rows(
    f: Tensor, live: list[bool], features: tuple[int, ...], top_k: int
) -> list[list[tuple[int, float]]]:
    """Each row as (feature, value), sorted in plain Python; column i of f is feature i."""
    rows = []
    for values, counted in zip(f.tolist(), live, strict=True):
        firing = [
            (n, v) for n, v in enumerate(values) if v > 0 and (not features or n in features) and counted
        ]
        firing.sort(key=lambda pair: (-pair[1], pair[0]))
        rows.append(firing[: top_k or None])
    return rows


def listed(rows: SparseRows) -> list[list[tuple[int, float]]]:
    return [
        list(zip(part.indices.tolist(), part.values.tolist(), strict=True))
        for part in (rows.part(n, n + 1) for n in range(rows.row_count))
    ]


def tied_activations(tokens: int = 30, d_sae: int = 50) -> Tensor:
    """Activations of few different values, half of them 0, so that most are tied."""
    rng = torch.Generator().manual_seed(0)
    return torch.randint(-3, 4, (tokens, d_sae), generator=rng).clamp_min(0).float() / 3


@pytest.mark.parametrize("top_k", [0, 1, 7, 49, 50, 1000])
@pytest.mark.parametrize("features", [(), (40, 3, 17, 8)])
def test_rows_hold_the_largest_activations_first_and_equal_ones_by_index(
    features: tuple[int, ...], top_k: int
) -> None:
    f = tied_activations()
    live = torch.rand(len(f), generator=torch.Generator().manual_seed(1)) < 0.8
    columns = f[:, list(features)] if features else f
    rows = sparse_rows(columns, live, features, top_k)
    assert listed(rows) == slow_rows(f, live.tolist(), features, top_k)
    assert (rows.starts.dtype, rows.indices.dtype, rows.values.dtype) == (np.uint32, np.uint32, np.float32)


def test_a_prompt_without_a_firing_feature_has_empty_rows() -> None:
    rows = sparse_rows(torch.zeros(3, 5), top_k=2)
    assert rows.starts.tolist() == [0, 0, 0, 0]
    assert len(rows.indices) == len(rows.values) == 0


@pytest.mark.parametrize("architecture", Architecture)
def test_activations_are_those_of_the_encoder_token_by_token(architecture: Architecture) -> None:
    sae = random_sae("s", 1, architecture, 3.0, seed=0)
    h = torch.randn(1100, D_MODEL, generator=torch.Generator().manual_seed(0)) * 3 / D_MODEL**0.5
    live = live_tokens(h, 3.0)
    seen = list(inspect_runs(sae.weights, h, live))
    assert [(offset, rows.row_count) for offset, rows in seen] == [(0, 512), (512, 512), (1024, 76)]
    for offset, rows in seen:
        dense = torch.zeros(rows.row_count, sae.weights.d_sae)
        for number, row in enumerate(listed(rows)):
            for index, value in row:
                dense[number, index] = value
        for number in range(0, rows.row_count, 25):
            expected = reference.encode(sae, h[offset + number]) * live[offset + number]
            torch.testing.assert_close(dense[number], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("architecture", Architecture)
def test_named_features_have_the_numbers_of_the_full_encoder(architecture: Architecture) -> None:
    weights = random_sae("s", 1, architecture, 3.0, seed=0).weights
    h = torch.randn(600, D_MODEL, generator=torch.Generator().manual_seed(0))
    features = (31, 2, 17)
    named = torch.cat([f for _, f in encoded(weights, h, features)])
    full = torch.cat([f for _, f in encoded(weights, h)])
    torch.testing.assert_close(named, full[:, list(features)], rtol=1e-5, atol=1e-5)
    assert (named > 0).any()


def test_named_features_use_no_other_encoder_row() -> None:
    weights = random_sae("s", 1, Architecture.RELU, 3.0, seed=0).weights
    broken = weights.W_enc.clone()
    broken[:17] = float("nan")
    h = torch.randn(5, D_MODEL)
    ((_, f),) = encoded(replace(weights, W_enc=broken), h, (20, 39))
    assert torch.isfinite(f).all()


def test_a_wide_sae_is_encoded_in_short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = random_sae("s", 1, Architecture.RELU, 3.0, seed=0).weights
    monkeypatch.setattr(inspection, "BLOCK_ACTIVATIONS", 3 * weights.d_sae)
    blocks = [block for block, _ in encoded(weights, torch.randn(8, D_MODEL))]
    assert blocks == [slice(0, 3), slice(3, 6), slice(6, 8)]


def test_the_first_token_and_any_above_four_median_norms_are_sinks() -> None:
    h = torch.zeros(4, 2)
    h[:, 0] = torch.tensor([1.0, 8.0, 8.01, 2.0])
    assert live_tokens(h, 2.0).tolist() == [False, True, False, True]
    assert live_tokens(h[:0], 2.0).tolist() == []


def test_runs_cover_all_rows_in_order_within_both_limits() -> None:
    whole = sparse_rows(tied_activations(100, 50))
    parts = list(runs(whole, per_run=9, nonzeros=150))
    assert [offset for offset, _ in parts] == np.cumsum([0, *(p.row_count for _, p in parts[:-1])]).tolist()
    assert all(1 <= p.row_count <= 9 and len(p.values) <= 150 for _, p in parts)
    assert max(p.row_count for _, p in parts) < 9  # the second limit acts here
    assert [row for _, part in parts for row in listed(part)] == listed(whole)


def test_a_row_is_never_split() -> None:
    whole = sparse_rows(torch.ones(3, 10))
    assert [(offset, p.row_count) for offset, p in runs(whole, nonzeros=5)] == [(0, 1), (1, 1), (2, 1)]


@pytest.mark.parametrize("firing", [131_072, 700, 1])
def test_each_run_fits_a_message_even_where_everything_fires(firing: int) -> None:
    tokens = 7 if firing > 1000 else 1100
    indices = np.tile(np.arange(131_072 - firing, 131_072, dtype=np.uint32), tokens)
    starts = np.arange(tokens + 1, dtype=np.uint32) * np.uint32(firing)
    whole = SparseRows(starts, indices, np.ones(len(indices), dtype=np.float32))
    for offset, part in runs(whole):
        message = inference_service_pb2.InspectResponse(offset=offset)
        message.activations.starts.extend(part.starts.tolist())
        message.activations.indices.extend(part.indices.tolist())
        message.activations.values.extend(part.values.tolist())
        message.tokens.extend(prompt_pb2.Token(id=128_000, piece=b"x" * 128) for _ in range(part.row_count))
        message.sinks.extend(range(offset, offset + part.row_count))
        assert message.ByteSize() < MESSAGE_LIMIT


def test_each_named_feature_counts_once() -> None:
    assert named_features((5, 2, 5, 2), 6) == (5, 2)
    assert named_features((), 6) == ()


def test_a_feature_that_does_not_exist_is_named() -> None:
    with pytest.raises(
        FeatureOutOfRange, match=r"feature_indices\[1\]: feature 6 does not exist; allowed: 0 to 5"
    ):
        named_features((5, 6), 6)
    with pytest.raises(InvalidField, match="513 features; allowed: at most 512"):
        named_features(tuple(range(513)), 1000)

"""Which features tell two sets apart: every statistic equals its definition, worked out feature by feature."""

from __future__ import annotations

import math
from statistics import mean

import pytest
import torch
from scipy import stats
from torch import Tensor

from services.inference import contrast as module
from services.inference.contrast import MAX_EFFECT_SIZE, Contrast, FeatureContrast, contrast

EVERYTHING = 1000


def two_sets(
    n_positive: int, n_negative: int, d_sae: int = 60, seed: int = 0, tied: bool = True
) -> tuple[Tensor, Tensor]:
    """Sparse activations; the first features lean to the positive set, the last never fire."""
    rng, d_sae = torch.Generator().manual_seed(0), 60

    def draw(n: int, lean: float) -> Tensor:
        f = (torch.randn(n, d_sae, generator=rng) + lean * torch.linspace(1, -1, d_sae)).clamp_min(
            0 if tied else -99
        )
        f = f if tied else f.exp()
        f[:, -5:] = 0
        return f

    return draw(n_positive, 1.0), draw(n_negative, 0.0)


def by_index(answer: Contrast) -> dict[int, FeatureContrast]:
    return {feature.index: feature for feature in (*answer.positive, *answer.negative)}


def slow_auroc(a: list[float], b: list[float]) -> float:
    wins = sum(1.0 if x > y else 0.5 if x == y else 0.0 for x in a for y in b)
    return wins / (len(a) * len(b))


def slow_g(a: list[float], b: list[float]) -> float:
    df = len(a) + len(b) - 2
    variance = (sum((x - mean(a)) ** 2 for x in a) + sum((y - mean(b)) ** 2 for y in b)) / df
    return (mean(a) - mean(b)) / math.sqrt(variance) * (1 - 3 / (4 * (len(a) + len(b)) - 9))


def slow_q(p_values: list[float]) -> list[float]:
    """Benjamini and Hochberg: the least rate at which each would still be found."""
    ranked = sorted(p_values)
    m = len(ranked)
    return [min(min(1.0, r * m / (k + 1)) for k, r in enumerate(ranked) if r >= p) for p in p_values]


@pytest.mark.parametrize(("n_positive", "n_negative"), [(12, 20), (5, 7), (30, 3), (2, 2)])
@pytest.mark.parametrize("tied", [True, False])
def test_each_statistic_equals_its_definition(n_positive: int, n_negative: int, tied: bool) -> None:
    a, b = two_sets(n_positive, n_negative, tied=tied)
    answer = contrast(a, b, EVERYTHING)
    firing = [n for n in range(60) if float(a[:, n].sum() + b[:, n].sum()) > 0]
    assert answer.tested_features == len(firing)
    p_values = {
        n: float(stats.mannwhitneyu(a[:, n].double(), b[:, n].double(), alternative="two-sided").pvalue)
        for n in firing
    }
    q_values = dict(zip(firing, slow_q(list(p_values.values())), strict=True))
    found = by_index(answer)
    for n in firing:
        x, y = a[:, n].double().tolist(), b[:, n].double().tolist()
        auroc = slow_auroc(x, y)
        assert (n in found) == (auroc != 0.5)
        if n in found:
            f = found[n]
            assert (f.mean_positive, f.mean_negative) == pytest.approx((mean(x), mean(y)))
            assert f.auroc == pytest.approx(auroc, abs=1e-12)
            assert f.effect_size == pytest.approx(slow_g(x, y), rel=1e-6)
            assert f.p_value == pytest.approx(p_values[n], rel=1e-9)
            assert f.q_value == pytest.approx(q_values[n], rel=1e-9)
    assert found


def test_each_feature_stands_on_the_side_it_speaks_for_most_telling_first() -> None:
    a, b = two_sets(12, 9)
    answer = contrast(a, b, EVERYTHING)
    assert all(f.auroc > 0.5 for f in answer.positive)
    assert all(f.auroc < 0.5 for f in answer.negative)
    for side in (answer.positive, answer.negative):
        keys = [(-abs(f.auroc - 0.5), -abs(f.effect_size)) for f in side]
        assert len(keys) > 5
        assert keys == sorted(keys)
        assert contrast(a, b, 3).positive == answer.positive[:3]
    assert len(contrast(a, b, 0).positive) == min(20, len(answer.positive))


def test_swapping_the_sets_mirrors_the_answer() -> None:
    a, b = two_sets(12, 9)
    there, back = contrast(a, b, EVERYTHING), contrast(b, a, EVERYTHING)
    assert [f.index for f in there.positive] == [f.index for f in back.negative]
    for f, g in zip(there.positive, back.negative, strict=True):
        assert (f.auroc, f.effect_size) == pytest.approx((1 - g.auroc, -g.effect_size))
        assert (f.p_value, f.q_value) == pytest.approx((g.p_value, g.q_value))


def test_ties_in_one_feature_do_not_change_the_test_of_another() -> None:
    """Exact p-values hold only without ties; scipy decides that for a whole matrix, we for each feature."""
    a, b = two_sets(5, 6, tied=False)
    alone = by_index(contrast(a[:, :1], b[:, :1], EVERYTHING))[0]
    a[:, 7] = 1.0
    assert by_index(contrast(a, b, EVERYTHING))[0].p_value == alone.p_value


def test_features_are_tested_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = two_sets(12, 9)
    whole = contrast(a, b, EVERYTHING)
    monkeypatch.setattr(module, "BLOCK_FEATURES", 7)
    assert contrast(a, b, EVERYTHING) == whole


def test_one_prompt_a_side_is_ordered_by_the_distance_of_the_means() -> None:
    answer = contrast(torch.tensor([[1.0, 5.0, 0.0, 2.0, 0.0]]), torch.tensor([[0.0, 1.0, 3.0, 2.0, 0.0]]))
    assert [f.index for f in answer.positive] == [1, 0]
    assert [f.index for f in answer.negative] == [2]
    assert [f.effect_size for f in answer.positive] == [MAX_EFFECT_SIZE] * 2
    assert answer.negative[0].effect_size == -MAX_EFFECT_SIZE
    assert answer.tested_features == 4
    assert all(f.p_value == f.q_value == 1.0 for f in by_index(answer).values())


def test_two_prompts_against_one_have_an_effect_size_without_correction() -> None:
    (feature,) = contrast(torch.tensor([[3.0], [5.0]]), torch.tensor([[1.0]])).positive
    assert feature.effect_size == pytest.approx(3.0 / math.sqrt(2.0))


def test_constant_sets_have_the_largest_effect_size_or_none() -> None:
    constant = contrast(torch.full((6, 2), 0.1), torch.tensor([[0.1, 0.3]] * 7))
    assert (constant.positive, constant.tested_features) == ((), 2)
    (apart,) = constant.negative
    assert (apart.index, apart.auroc, apart.effect_size) == (1, 0.0, -MAX_EFFECT_SIZE)


def test_where_nothing_fires_nothing_is_tested() -> None:
    assert contrast(torch.zeros(3, 4), torch.zeros(2, 4)) == Contrast((), (), 0)


def test_equal_features_come_in_order_of_their_index() -> None:
    a, b = torch.rand(6, 1).expand(6, 9) + 1, torch.rand(5, 1).expand(5, 9)
    assert [f.index for f in contrast(a, b).positive] == list(range(9))


def test_features_without_a_difference_are_rarely_found() -> None:
    """Under the null, Benjamini and Hochberg keep false discoveries below the rate that is asked for."""
    rng = torch.Generator().manual_seed(0)
    found = sum(
        any(f.q_value < 0.05 for f in by_index(contrast(x[:20], x[20:], EVERYTHING)).values())
        for x in (torch.randn(40, 200, generator=rng).clamp_min(0) for _ in range(40))
    )
    assert found <= 6

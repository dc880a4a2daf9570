"""Drawing tokens: exact distributions, truncation as defined, draws that depend on seed and position alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from services.inference.sampling import Sampling, choose, entropy, uniform
from tests.inference.reference_generation import draw

DRAWS = 1500
LOGITS = torch.tensor([1.2, -0.3, 0.4, 2.0, -3.0, 0.9, 1.1, -0.8])


def tokens(row: Tensor, sampling: dict[str, object], draws: int = DRAWS) -> list[int]:
    """One draw for each seed."""
    samplings = [Sampling(seed=seed, **sampling) for seed in range(draws)]  # type: ignore[arg-type]
    return [choice.token for choice in choose(row.expand(draws, -1), samplings, [7] * draws)]


def assert_follows(drawn: list[int], probabilities: Tensor) -> None:
    """Chi-square at 0.1 %, of fixed seeds; what has no probability is never drawn."""
    counts = np.bincount(drawn, minlength=len(probabilities))
    possible = probabilities.numpy() > 0
    assert counts[~possible].sum() == 0
    if possible.sum() == 1:
        return
    expected = probabilities.double().numpy()[possible] * len(drawn)
    assert chisquare(counts[possible], expected * counts.sum() / expected.sum()).pvalue > 0.001


def test_uniform_numbers_never_change() -> None:
    """Golden: a change here changes every text that anyone has a receipt for."""
    assert [uniform(0, 0), uniform(0, 1), uniform(1, 0), uniform(2**64 - 1, 8191)] == GOLDEN


GOLDEN = [0.011546754286331562, 0.5023796042735054, 0.3035680343067586, 0.27645601336032455]


def test_uniform_numbers_are_uniform_over_seeds_and_over_positions() -> None:
    for numbers in ([uniform(s, 5) for s in range(4000)], [uniform(5, p) for p in range(4000)]):
        counts, _ = np.histogram(numbers, bins=20, range=(0, 1))
        assert chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_distribution_at_each_temperature(temperature: float) -> None:
    drawn = tokens(LOGITS, {"temperature": temperature})
    assert_follows(drawn, torch.softmax(LOGITS / temperature, -1))


@pytest.mark.parametrize("k", [1, 2, 5, 8, 50])
def test_top_k_keeps_the_k_likeliest(k: int) -> None:
    kept = torch.full_like(LOGITS, float("-inf"))
    best = LOGITS.topk(min(k, 8)).indices
    kept[best] = LOGITS[best]
    assert_follows(tokens(LOGITS, {"top_k": k}), torch.softmax(kept, -1))


@pytest.mark.parametrize("p", [1e-6, 0.3, 0.42, 0.75, 0.999])
def test_top_p_keeps_the_fewest_likeliest_tokens_that_reach_it(p: float) -> None:
    probabilities = torch.softmax(LOGITS.double(), -1)
    kept, held = torch.zeros(8), 0.0
    for token in probabilities.argsort(descending=True):
        if held < p:
            kept[token] = probabilities[token]
            held += float(probabilities[token])
    assert_follows(tokens(LOGITS, {"top_p": p}), kept / kept.sum())


def test_top_p_is_measured_on_what_top_k_has_left() -> None:
    """Of the three likeliest, the first two hold 70 % of the three's probability, but less of the whole."""
    logits = torch.tensor([0.4, 0.3, 0.3, 0.3, 0.3]).log() + torch.tensor([0.2, 0.1, 0.0, -0.1, -0.1])
    assert set(tokens(logits, {"top_k": 3, "top_p": 0.6}, 200)) == {0, 1}
    assert set(tokens(logits, {"top_p": 0.6}, 200)) == {0, 1, 2}


def test_top_p_holds_beyond_the_first_candidates() -> None:
    """A flat distribution over 2,000 tokens, of which 256 hold little: 0.5 keeps exactly the likelier half."""
    logits = torch.linspace(0, 1e-3, 2000)
    drawn = tokens(logits, {"top_p": 0.5}, 1000)
    assert min(drawn) >= 999
    spread, _ = np.histogram(drawn, bins=10, range=(1000, 2000))
    assert chisquare(spread).pvalue > 0.001


@pytest.mark.parametrize("sampling", [{"temperature": 0.0}, {"top_k": 1}, {"temperature": 0.0, "top_p": 0.5}])
def test_greedy_takes_the_likeliest_whatever_the_seed(sampling: dict[str, object]) -> None:
    assert set(tokens(LOGITS, sampling, 50)) == {3}


@pytest.mark.parametrize(
    "sampling",
    [
        {},
        {"temperature": 0.7},
        {"top_k": 40},
        {"top_p": 0.9},
        {"top_k": 100, "top_p": 0.8, "temperature": 1.3},
    ],
)
def test_draws_are_the_references(sampling: dict[str, object]) -> None:
    torch.manual_seed(3)
    rows = torch.randn(200, 1000) * 2
    samplings = [Sampling(seed=n, **sampling) for n in range(200)]  # type: ignore[arg-type]
    drawn = [c.token for c in choose(rows, samplings, list(range(200)))]
    assert drawn == [draw(row, s, n) for n, (row, s) in enumerate(zip(rows, samplings, strict=True))]


def test_a_draw_depends_on_its_own_row_seed_and_position_alone() -> None:
    torch.manual_seed(3)
    rows = torch.randn(40, 300) * 2
    kinds: list[dict[str, object]] = [{}, {"temperature": 0.0}, {"top_k": 9}, {"top_p": 0.8}]
    samplings = [Sampling(seed=n, top_logprobs=3, **kinds[n % 4]) for n in range(40)]  # type: ignore[arg-type]
    positions = [n * 3 % 17 for n in range(40)]
    together = choose(rows, samplings, positions)
    alone = [choose(rows[n : n + 1], [samplings[n]], [positions[n]])[0] for n in range(40)]
    assert together == alone
    moved = choose(rows, samplings, [p + 1 for p in positions])
    assert [c.token for c in moved] != [c.token for c in together]


def test_log_probabilities_are_the_models_own_before_temperature_and_truncation() -> None:
    torch.manual_seed(3)
    rows = torch.randn(20, 300) * 2
    samplings = [Sampling(seed=n, temperature=0.5, top_k=5, top_logprobs=4) for n in range(20)]
    logs = torch.log_softmax(rows.double(), -1)
    for row, choice in zip(logs, choose(rows, samplings, [3] * 20), strict=True):
        assert choice.logprob == pytest.approx(float(row[choice.token]), abs=1e-5)
        best = row.topk(4)
        assert [token for token, _ in choice.top] == best.indices.tolist()
        assert [log for _, log in choice.top] == pytest.approx(best.values.tolist(), abs=1e-5)


def test_log_probabilities_come_only_where_asked_for() -> None:
    plain, asked = choose(LOGITS.expand(2, -1), [Sampling(), Sampling(logprobs=True)], [0, 0])
    assert (plain.logprob, plain.top) == (None, ())
    assert asked.logprob is not None
    assert asked.top == ()


def test_entropy_is_in_nats() -> None:
    rows = torch.stack([torch.zeros(8), torch.tensor([60.0, *[0.0] * 7])])
    assert entropy(rows).tolist() == pytest.approx([float(np.log(8)), 0.0], abs=1e-5)

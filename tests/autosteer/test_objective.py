"""The objective, the intervals and the Pareto front."""

from __future__ import annotations

import math

import numpy as np
import pytest

from services.autosteer.intervals import interval, paired_difference
from services.autosteer.objective import Scores, clipped, fluency_of, harmonic_mean, pareto_front
from tests.autosteer.made import trial


def test_the_objective_is_the_harmonic_mean_and_zero_if_any_part_is() -> None:
    assert Scores(0.5, 1.0, 0.25).objective == pytest.approx(3 / (2 + 1 + 4))
    assert Scores(1.0, 1.0, 0.0).objective == 0.0
    assert harmonic_mean(1.0, 1.0, 1.0) == 1.0


def test_a_strong_behaviour_does_not_make_up_for_broken_text() -> None:
    assert Scores(1.0, 1.0, 0.1).objective < Scores(0.4, 0.8, 0.8).objective


def test_fluency_costs_nothing_up_to_three_tenths_of_a_nat_and_then_falls() -> None:
    assert fluency_of(-1.0) == fluency_of(0.3) == 1.0
    assert fluency_of(1.1) == pytest.approx(1 / math.e)


def test_what_is_no_number_counts_as_zero() -> None:
    assert clipped(float("nan")) == clipped(-3.0) == 0.0
    assert clipped(7.0) == 1.0


def test_the_front_holds_what_no_other_trial_surpasses() -> None:
    trials = [trial(0, 0.5, 0.9), trial(1, 0.9, 0.5), trial(2, 0.4, 0.8), trial(3, 0.95, 0.95, True)]
    assert [each.number for each in pareto_front(trials)] == [0, 1]


def test_of_equal_trials_the_first_stays() -> None:
    assert [each.number for each in pareto_front([trial(4, 0.5), trial(5, 0.5)])] == [4]


def test_an_interval_holds_the_mean_of_its_population_about_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for number in range(200):
        found = interval(rng.normal(0.4, 0.2, 24).tolist(), number)
        held += found.low <= 0.4 <= found.high
    assert 0.88 <= held / 200 <= 0.99


def test_pairing_by_prompt_tells_a_small_lead_from_large_differences_between_prompts() -> None:
    rng = np.random.default_rng(1)
    theirs = rng.uniform(0, 1, 24)
    ours = theirs + rng.normal(0.05, 0.02, 24)
    paired = paired_difference(ours.tolist(), theirs.tolist(), 3)
    assert paired.low > 0
    unpaired_width = interval(ours.tolist(), 3).high - interval(ours.tolist(), 3).low
    assert paired.high - paired.low < unpaired_width / 4


def test_the_same_seed_gives_the_same_interval() -> None:
    values = [0.1, 0.5, 0.2, 0.9]
    assert interval(values, 5) == interval(values, 5) != interval(values, 6)
    assert interval([], 5).mean == 0.0
    assert interval([0.3], 5).low == interval([0.3], 5).high == pytest.approx(0.3)

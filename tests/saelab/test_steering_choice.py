from __future__ import annotations

import pytest

from services.saelab.feature_rows import Dose
from services.saelab.steering_choice import chance, safest, smoothed
from services.saelab.steering_rules import FLUENT_DISTINCT, FLUENT_LOSS, VISIBLE_WORDS


def test_a_dose_at_every_limit_holds_elsewhere_one_time_in_eight() -> None:
    assert chance(Dose(0.5, VISIBLE_WORDS, FLUENT_LOSS, FLUENT_DISTINCT)) == pytest.approx(1 / 8)
    assert chance(Dose(0.5, 30.0, 0.2, 1.2)) > 0.99
    assert chance(Dose(0.5, 30.0, 3.0, 1.0)) < 1e-6


def test_a_weaker_dose_well_within_fluency_is_preferred_to_a_stronger_one_at_its_edge() -> None:
    doses = [Dose(0.4, 9.0, 0.4, 0.95), Dose(0.5, 10.0, 0.97, 0.77), Dose(0.6, 12.0, 1.2, 0.7)]
    assert safest(doses)[0] == 0.4


def test_a_lone_peak_counts_for_less_than_a_plateau() -> None:
    gains = [0.0, 8.0, 0.0, 6.0, 7.0, 6.0]
    doses = [Dose(0.1 * place, gain, 0.2, 0.95) for place, gain in enumerate(gains, 1)]
    assert [dose.gain for dose in smoothed(doses)] == [2.0, 4.0, 3.5, 4.75, 6.5, 6.25]
    assert safest(doses)[0] == pytest.approx(0.5)


def test_a_single_dose_stands_for_itself() -> None:
    dose = Dose(0.5, 6.0, 0.2, 0.9)
    assert smoothed([dose]) == [dose]

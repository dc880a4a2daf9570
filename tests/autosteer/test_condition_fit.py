"""Suggested conditions: fitted on one half of the texts, measured on the other."""

from __future__ import annotations

import numpy as np
import pytest

from services.autosteer.condition_fit import DRAFTED, MAX_FALSE, auroc, fitted, suggest_condition
from services.autosteer.drafting import template_pairs
from services.autosteer.spec import Prompt, Spec
from services.autosteer.upstream import Entry
from services.errors import InvalidField
from services.steering.conditions import Operator
from tests.autosteer.made import SAE
from tests.autosteer.tiny_platform import BEHAVIOR, Platform, words

ENTRIES = [Entry(10 + n, f"feature {n}", 0.01, 1.0) for n in range(4)]


def texts(count: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Feature 0 fires on half of the positive texts, feature 1 on the other half, 2 everywhere, 3 at random."""
    rng = np.random.default_rng(seed)
    shows = np.arange(count) % 2 == 0
    first = rng.random(count) < 0.5
    values = rng.uniform(0, 0.3, (count, 4))
    values[shows & first, 0] += 1.0
    values[shows & ~first, 1] += 1.0
    values[:, 2] += 0.5
    values[:, 3] = rng.uniform(0, 0.2, count)
    return values, shows, rng.random(count) < 0.5


def test_features_that_tell_together_are_found_and_those_that_do_not_are_left_out() -> None:
    values, shows, held_out = texts()
    found = fitted(values, shows, held_out, ENTRIES, SAE, 3)
    assert {feature.index for feature in found.condition.left} == {10, 11}
    assert found.auroc > 0.99
    assert found.true_positive_rate > 0.95
    assert found.false_positive_rate <= 2 * MAX_FALSE
    assert found.condition.operator is Operator.GREATER
    assert found.labels == tuple(f"feature {feature.index - 10}" for feature in found.condition.left)
    assert (found.positives, found.negatives) == (
        int((shows & held_out).sum()),
        int((~shows & held_out).sum()),
    )


def test_what_tells_nothing_is_stated_as_such_because_it_is_measured_on_other_texts() -> None:
    rng = np.random.default_rng(3)
    values, shows = rng.uniform(0, 1, (60, 4)), np.arange(60) % 2 == 0
    found = fitted(values, shows, np.arange(60) % 3 == 0, ENTRIES, SAE, 3)
    assert 0.2 < found.auroc < 0.8


def test_auroc_counts_ties_half() -> None:
    shows = np.array([True, True, False, False])
    assert auroc(np.array([1.0, 1.0, 1.0, 1.0]), shows) == 0.5
    assert auroc(np.array([2.0, 3.0, 1.0, 0.0]), shows) == 1.0
    assert auroc(np.array([2.0, 0.0, 1.0, 0.0]), shows) == pytest.approx(0.625)


async def test_a_condition_fits_texts_of_a_real_model(platform: Platform) -> None:
    said = words()
    positive = tuple(Prompt(text=f"{said[0]} {said[1]} {said[2]} {said[20 + n]}") for n in range(24))
    negative = tuple(Prompt(text=f"{said[5]} {said[6]} {said[7]} {said[60 + n]}") for n in range(24))
    found = await suggest_condition(
        Spec(positive=positive, negative=negative, max_features=2),
        platform.inference,
        platform.catalogue,
        platform.encoder.encode,
    )
    assert found.auroc > 0.9
    assert found.false_positive_rate <= 0.3
    assert 1 <= len(found.condition.left) <= 2


async def test_too_few_texts_are_refused(platform: Platform) -> None:
    few = tuple(Prompt(text=f"text {n}") for n in range(3))
    other = tuple(Prompt(text=f"other {n}") for n in range(3))
    with pytest.raises(InvalidField, match="at least 8"):
        await suggest_condition(
            Spec(positive=few, negative=other),
            platform.inference,
            platform.catalogue,
            platform.encoder.encode,
        )


async def test_where_the_time_is_short_a_condition_is_fitted_on_templates(platform: Platform) -> None:
    rest = platform.inference, platform.catalogue, platform.encoder.encode
    hasty = await suggest_condition(Spec(behavior=BEHAVIOR), *rest, seconds=0.0)
    pairs = template_pairs(BEHAVIOR, DRAFTED, has_chat_template=True)
    positive, negative = tuple(p.positive for p in pairs), tuple(p.negative for p in pairs)
    assert hasty == await suggest_condition(
        Spec(behavior=BEHAVIOR, positive=positive, negative=negative), *rest
    )

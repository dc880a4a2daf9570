"""The benchmark of the gateway says whether the goals are met, from rounds that are paired."""

from __future__ import annotations

import pytest

from bench.gateway import DIRECT, GATEWAY, questions, render


def rounds(*pairs: tuple[float, float]) -> list[dict[str, float]]:
    return [{"tokens/s": rate, "first token, ms": wait, "tokens": 64.0} for rate, wait in pairs]


@pytest.mark.parametrize(
    ("ours", "says"),
    [
        (((97, 105), (96, 108), (190, 400)), ("0.96 (0.95–0.97)", "0.95, met", "8 (5–", "10 ms, met")),
        (((94, 111), (94, 111), (94, 111)), ("0.94", "0.95, missed", "11", "10 ms, missed")),
    ],
)
def test_goals_are_judged_on_the_median_of_the_rounds_own_ratios(
    ours: tuple[tuple[float, float], ...], says: tuple[str, ...]
) -> None:
    theirs = ((100, 100), (100, 100), (200, 300)) if ours[2][0] > 100 else ((100, 100),) * 3
    text = render({DIRECT: rounds(*theirs), GATEWAY: rounds(*ours)}, 32, 64)
    for part in says:
        assert part in text, text


def test_no_question_is_asked_twice() -> None:
    asked = [each for moment in ("direct 0", "gateway 0", "direct 1") for each in questions(moment, 32)]
    assert len(set(asked)) == len(asked)

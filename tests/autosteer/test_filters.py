"""What narrows candidates down: ranking by what is known, the causal filter, the screen, the ceilings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from services.autosteer.candidates import candidate_of, is_fit, leading, merged, ranked
from services.autosteer.causal import LOST_MOST, causal_filter, kept, probed
from services.autosteer.ceiling import LEAST_SHARE, bounds_of, ceilings, is_coherent
from services.autosteer.doses import MAX_SHARE, edits_of
from services.autosteer.drafting import Pair
from services.autosteer.objective import Scores
from services.autosteer.screen import TOGETHER, Tried, screen
from services.autosteer.spec import Prompt
from services.autosteer.upstream import Contrasted, Entry, Likelihood
from services.steering.edits import Steering
from tests.autosteer.made import CONSTANT, SAE, PlannedDesk, WrittenInference, candidate, key, places


async def nothing(done: int, total: int) -> None:
    """Hears nothing."""


def entry(index: int, density: float = 0.005, kind: str = "concept") -> Entry:
    return Entry(index, f"feature {index}", density, 1.0, kind)


def test_dense_dead_and_template_features_are_no_candidates() -> None:
    assert is_fit(entry(1, 0.05))
    assert not is_fit(entry(1, 0.2))
    assert not is_fit(entry(1, 0.0))
    assert not is_fit(entry(1, kind="template"))
    assert not is_fit(entry(1, kind="dead"))


def test_contrast_alone_proposes_only_rare_features() -> None:
    assert is_fit(entry(1, 0.005), by_contrast_alone=True)
    assert not is_fit(entry(1, 0.02), by_contrast_alone=True)


def test_a_feature_that_was_found_twice_is_one_candidate_with_both_finds() -> None:
    found = candidate_of(entry(4), SAE, "search")
    contrasted = candidate_of(entry(4), SAE, "contrast", Contrasted(4, 0.9, 2.5, 0.01))
    (one,) = merged([found, contrasted])
    assert one.sources == ("search", "contrast")
    assert one.effect_size == 2.5


def test_a_feature_that_reads_and_writes_what_is_meant_comes_before_one_that_only_reads_it() -> None:
    both, reads = candidate(1), candidate(2)
    order = ranked([reads, both], {key(1): 0.4, key(2): 0.6}, {key(1): 0.5, key(2): 0.1})
    assert [each.feature.index for each in order] == [1, 2]


def test_of_features_of_like_meaning_the_one_that_is_known_to_steer_comes_first() -> None:
    meaning = {key(n): 0.5 for n in range(4)}
    candidates = [
        candidate_of(replace(entry(n), steerability=known), SAE, "search")
        for n, known in enumerate((0.0, None, 0.001, 0.04))
    ]
    order = ranked(candidates, meaning, meaning)
    assert [each.feature.index for each in order] == [3, 2, 1, 0]


PLAIN = [Likelihood(10, -20.0)] * 4


def steered(*changes: float) -> list[Likelihood]:
    return [Likelihood(10, -20.0 + 10 * change) for change in changes]


def test_the_lift_is_what_positive_texts_gain_beyond_negative_ones() -> None:
    found = probed(candidate(1), PLAIN, steered(0.5, 0.3, 0.1, -0.1), 2)
    assert found.lift == pytest.approx(0.4)
    assert found.sign == 1
    assert found.score > candidate(1).score


def test_a_feature_that_works_against_the_behaviour_is_turned_round() -> None:
    assert probed(candidate(1), PLAIN, steered(-0.6, -0.6, 0.0, 0.0), 2).sign == -1
    assert probed(candidate(1), PLAIN, steered(-0.05, -0.05, 0.0, 0.0), 2).sign == 1


def test_the_top_hit_is_not_turned_round_and_is_among_the_first() -> None:
    given = [candidate(n, top_hit=n == 4) for n in range(6)]
    assert probed(given[4], PLAIN, steered(-0.6, -0.6, 0.0, 0.0), 2).sign == 1
    indices = [[each.feature.index for each in leading(given, count)] for count in (0, 1, 3, 5, 9)]
    assert indices == [[], [4], [0, 1, 4], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5]]


def test_a_feature_that_makes_all_text_unlikely_falls_back() -> None:
    loss = -LOST_MOST - 0.5
    broken = probed(candidate(1), PLAIN, steered(loss + 0.5, loss + 0.5, loss, loss), 2)
    assert broken.score < probed(candidate(1), PLAIN, steered(0.0, 0.0, 0.0, 0.0), 2).score


def test_the_best_by_meaning_stay_whatever_a_short_probe_says() -> None:
    given = [candidate(n, score=score) for n, score in enumerate([0.1, 0.2, 0.9, 0.8, 0.7])]
    assert [each.feature.index for each in kept(given, 4)] == [2, 3, 1, 0]
    by_hand = [*given[:4], candidate(4, score=0.05, top_hit=True)]
    assert {each.feature.index for each in kept(by_hand, 4)} == {0, 1, 2, 4}


async def test_features_are_probed_in_one_batch_each_and_ranked_by_their_effect() -> None:
    def likelihood(prompt: Prompt, text: str, steering: Steering) -> float:
        index = steering.edits[0].feature.index if steering.edits else 0
        return -2.0 + (0.1 * index if "ship" in text else 0.0)

    inference = WrittenInference(likelihood=likelihood)
    pairs = [Pair(Prompt(text=f"a ship sails {n}"), Prompt(text=f"a cake bakes {n}")) for n in range(4)]
    given = [candidate(n) for n in range(8)]
    found = await causal_filter(given, pairs, 3, 5, CONSTANT, inference, nothing)
    assert [each.feature.index for each in found][:3] == [5, 6, 7]
    assert {each.feature.index for each in found} >= {0, 1}
    assert len(inference.read) == (len(given) + 1) * 6


async def test_candidates_for_which_there_is_no_time_stay_unprobed() -> None:
    answers = iter([True, True, False, False, False])
    pairs = [Pair(Prompt(text="a ship"), Prompt(text="a cake"))]
    given = [candidate(n) for n in range(5)]
    found = await causal_filter(
        given, pairs, 1, 5, CONSTANT, WrittenInference(), nothing, lambda: next(answers)
    )
    assert sum(each.lift is not None for each in found) == 2


def by_dose(best: dict[int, float]) -> PlannedDesk:
    """Each feature works best at one dose, in fractions of the norm, and breaks above it."""

    def scores(edits: dict[int, float], place: object) -> Scores:
        ((index, value),) = edits.items()
        share = abs(value) * CONSTANT
        return Scores(min(1.0, 2 * share), 1.0, 1.0 if share <= best.get(index, 0.0) + 1e-6 else 0.0)

    return PlannedDesk(scores)


async def test_the_screen_keeps_candidates_by_their_best_dose_and_tries_each_sign() -> None:
    desk = by_dose({0: 0.1, 1: 0.4, 2: 0.2})
    given = [candidate(0), candidate(1, sign=-1), candidate(2)]
    found = await screen(given, (0.2, 0.3, 0.4), places(2), 2, CONSTANT, desk, nothing)
    assert [each.feature.index for each in found.candidates] == [1, 2]
    assert {t.share for t in found.tried if t.feature == key(1)} == {-0.2, -0.3, -0.4}
    assert len(desk.seen) == 3 * 3 * 2


async def test_a_screen_that_runs_out_of_time_ranks_what_it_has_seen() -> None:
    given = [candidate(n) for n in range(12)]
    found = await screen(
        given, (0.3,), places(8), 3, CONSTANT, by_dose(dict.fromkeys(range(12), 0.4)), nothing, lambda: False
    )
    assert len({t.feature for t in found.tried}) == TOGETHER // 4  # of 8 prompts, 4 come first
    assert len(found.candidates) == 3


async def test_only_the_better_half_sees_all_prompts_and_the_top_hit_stays() -> None:
    def scores(edits: dict[int, float], place: object) -> Scores:
        return Scores(0.05 * (1 + next(iter(edits))), 1.0, 1.0)

    desk = PlannedDesk(scores)
    given = [candidate(n, top_hit=n == 1) for n in range(12)]
    found = await screen(given, (0.3,), places(8), 3, CONSTANT, desk, nothing)
    assert len(desk.seen) == 12 * 4 + 6 * 4
    assert [each.feature.index for each in found.candidates] == [11, 10, 1]
    assert [len(t.samples) for t in found.tried] == [4, 8, *[4] * 5, *[8] * 5]


async def test_where_nothing_shows_the_first_two_go_on() -> None:
    found = await screen(
        [candidate(n) for n in range(4)], (0.3,), places(1), 3, CONSTANT, by_dose({}), nothing
    )
    assert [each.feature.index for each in found.candidates] == [0, 1]


def tried(index: int, *doses: tuple[float, float]) -> Sequence[Tried]:
    return [Tried(key(index), share, 0.5, 0.5, fluency, ()) for share, fluency in doses]


def test_the_screen_bounds_a_ceiling() -> None:
    bounds = bounds_of(candidate(0), tried(0, (-0.2, 0.9), (-0.3, 0.8), (-0.4, 0.1)))
    assert (bounds.low, bounds.high) == (0.3, 0.4)
    contradictory = bounds_of(candidate(0), tried(0, (0.2, 0.1), (0.3, 0.9)))
    assert (contradictory.low, contradictory.high) == (0.0, 0.2)


async def test_bisection_comes_to_the_largest_coherent_dose() -> None:
    best = {0: 0.23, 1: 0.31, 2: 0.05, 3: 0.5}
    given = [candidate(n) for n in best]
    found = await ceilings(given, (), 6, places(3), CONSTANT, by_dose(best), nothing)
    measured = {each.feature.index: each.ceiling for each in found}
    assert measured[0] == pytest.approx(0.23, abs=0.01)
    assert measured[1] == pytest.approx(0.31, abs=0.01)
    assert measured[2] == LEAST_SHARE
    assert measured[3] == MAX_SHARE


async def test_without_a_measurement_the_screen_decides() -> None:
    sound, broken = tried(0, (0.3, 0.9)), tried(1, (0.3, 0.2))
    found = await ceilings(
        [candidate(0), candidate(1)], [*sound, *broken], 0, (), CONSTANT, by_dose({}), nothing
    )
    assert found[0].ceiling == MAX_SHARE
    assert found[1].ceiling == pytest.approx(0.24)


@pytest.mark.parametrize(
    ("losses", "coherent"),
    [
        ([0.1, 0.5, 0.6], True),
        ([0.9, 0.9, 0.9], False),
        ([0.1, 0.1, float("inf")], True),
        ([0.1, float("inf"), float("inf")], False),
        ([float("inf")], False),
    ],
)
def test_texts_are_coherent_if_few_break_and_perplexity_at_most_doubles(
    losses: list[float], coherent: bool
) -> None:
    assert is_coherent(losses) is coherent


def test_nudges_together_are_scaled_down_to_what_the_model_bears() -> None:
    edits = edits_of({key(0): 0.4, key(1): -0.3}, CONSTANT)
    assert [edit.value for edit in edits] == pytest.approx([0.64, -0.48])
    assert edits_of({key(0): 0.2}, CONSTANT)[0].value == pytest.approx(0.4)

"""The search finds what is planted, races fairly and goes on where it was."""

from __future__ import annotations

import pytest

from services.autosteer.doses import MAX_SHARE, norm_of
from services.autosteer.objective import Scores
from services.autosteer.search import Race, Search, best_of, finalists_of
from services.autosteer.space import ALONE, NONE, Space
from services.autosteer.spec import Trial
from tests.autosteer.made import CONSTANT, PlannedDesk, candidate, key, noise, nudge, places, trial

FEATURES = tuple(candidate(n, ceiling=0.4, sign=1) for n in range(5))
SPACE = Space(FEATURES, 2, CONSTANT)


def planted(edits: dict[int, float], place: object) -> Scores:
    """Feature 2 shows the behaviour, feature 4 helps it, all others harm; too much of anything breaks the text."""
    good = edits.get(2, 0.0) + 0.6 * edits.get(4, 0.0)
    harm = sum(abs(value) for index, value in edits.items() if index not in (2, 4))
    size = sum(abs(value) for value in edits.values())
    adherence = max(0.0, min(1.0, good + 0.1 * noise(edits, place)))
    return Scores(adherence, 1.0, max(0.0, 1.0 - max(0.0, size - 0.7) - 0.5 * harm))


async def searched(
    desk: PlannedDesk, race: Race, recorded: list[Trial] | None = None, prompts: int = 8, space: Space = SPACE
) -> list[Trial]:
    found: list[Trial] = []

    async def heard(trial: Trial) -> None:
        found.append(trial)

    trials = await Search(space, race, places(prompts), desk, recorded or []).run(heard)
    assert trials == found
    return trials


async def test_the_planted_features_are_found() -> None:
    trials = await searched(PlannedDesk(planted), Race(40, 4, 1))
    best = best_of(trials)
    assert best is not None
    assert {edit.feature.index for edit in best.edits} <= {2, 4}
    assert best.score > 0.75
    assert [each.number for each in trials] == list(range(40))


async def test_the_same_seed_gives_the_same_trials_and_another_one_others() -> None:
    one, same, other = [await searched(PlannedDesk(planted), Race(16, 4, seed)) for seed in (1, 1, 2)]
    assert one == same
    assert one != other


@pytest.mark.parametrize("known", [1, 4, 6, 11])
async def test_a_search_that_was_killed_goes_on_with_the_same_trials(known: int) -> None:
    whole = await searched(PlannedDesk(planted), Race(16, 4, 1))
    desk = PlannedDesk(planted)
    assert await searched(desk, Race(16, 4, 1), whole[:known]) == whole
    full = sum(len(each.samples) for each in whole[known:])
    assert len(desk.seen) == full


async def test_where_time_is_short_fewer_trials_run_and_one_in_any_case() -> None:
    async def heard(trial: Trial) -> None:
        pass

    for rooms, expected in (([2, 2, 1, 0], 5), ([0], 1)):
        left = iter(rooms)
        search = Search(SPACE, Race(24, 4, 3), places(8), PlannedDesk(planted), [])
        assert len(await search.run(heard, lambda left=left: next(left, 0))) == expected  # type: ignore[misc]


async def test_hopeless_trials_see_only_the_first_prompts() -> None:
    trials = await searched(PlannedDesk(planted), Race(24, 4, 3))
    pruned = [each for each in trials if each.pruned]
    assert pruned
    assert all(len(each.samples) == 4 for each in pruned)
    assert all(len(each.samples) == 8 for each in trials if not each.pruned)
    best = best_of(trials)
    assert best is not None
    assert not best.pruned
    assert all(each.score < best.score for each in pruned)


async def test_no_setting_moves_the_stream_too_far() -> None:
    strong = Space(tuple(candidate(n, ceiling=0.4) for n in range(4)), 3, CONSTANT)
    trials = await searched(PlannedDesk(planted), Race(20, 4, 2), space=strong)
    assert max(norm_of(each.edits, CONSTANT) for each in trials) <= MAX_SHARE + 0.002


def test_a_feature_in_two_slots_counts_once() -> None:
    params = {"dose": 0.3, "feature 0": 1, "weight 0": 0.5, "feature 1": 1, "weight 1": 0.9}
    assert SPACE.edits(params) == (nudge(1, round(0.3 / CONSTANT, 3)),)


def test_features_share_a_dose_by_their_weights() -> None:
    params = {"dose": 0.25, "feature 0": 1, "weight 0": 0.8, "feature 1": 3, "weight 1": 0.6}
    assert SPACE.edits(params) == (nudge(1, 0.4), nudge(3, 0.3))
    assert norm_of(SPACE.edits(params), CONSTANT) == pytest.approx(0.25)


def test_an_empty_slot_adds_nothing_and_signs_are_kept() -> None:
    space = Space((candidate(7, ceiling=0.2, sign=-1),), 2, CONSTANT)
    params = {"dose": 0.3, "feature 0": 0, "weight 0": 1.0, "feature 1": NONE, "weight 1": 1.0}
    assert space.edits(params) == (nudge(7, -0.4),)  # the ceiling, not the dose


def test_the_best_features_are_tried_together_and_alone_first_and_what_a_person_would_take() -> None:
    features = [candidate(n, ceiling=0.4, meaning=0.1 * n, top_hit=n == 2) for n in range(5)]
    space = Space(tuple(features), 3, CONSTANT)
    starts = [space.edits(start) for start in space.starts()]
    together = [tuple(edit.feature for edit in edits) for edits in starts if len(edits) > 1]
    assert together[0] == (key(0), key(1), key(2))
    assert (key(4), key(3), key(2)) in together
    assert [edits[0] for edits in starts if len(edits) == 1] == [
        nudge(n, round(ALONE / CONSTANT, 3)) for n in (0, 2)
    ]
    assert len(set(starts)) == len(starts)


def test_around_a_proposal_lie_other_doses_and_fewer_features() -> None:
    params = {"dose": 0.2, "feature 0": 3, "weight 0": 0.5, "feature 1": 1, "weight 1": 1.0}
    near = [SPACE.edits(each) for each in SPACE.around(params)]
    assert [norm_of(edits, CONSTANT) for edits in near[:2]] == pytest.approx([0.14, 0.24], abs=0.001)
    assert [[edit.feature for edit in edits] for edits in near] == [[key(3), key(1)]] * 2 + [
        [key(1)],
        [key(3)],
    ]
    assert norm_of(near[2], CONSTANT) == pytest.approx(0.2)
    assert len(SPACE.around({**params, "feature 1": NONE})) == 2


async def test_what_lies_around_the_best_is_tried_next() -> None:
    trials = await searched(PlannedDesk(planted), Race(16, 8, 1))
    starts = len(SPACE.starts())
    best = best_of(trials[:8])
    assert best is not None
    assert starts <= 8
    doses = {round(norm_of(best.edits, CONSTANT) * factor, 2) for factor in (0.7, 1.2)}
    assert doses & {round(norm_of(each.edits, CONSTANT), 2) for each in trials[8:12]}


def test_a_single_feature_has_starts_too() -> None:
    space = Space((candidate(7, ceiling=0.4, top_hit=True),), 1, CONSTANT)
    starts = {space.edits(start) for start in space.starts()}
    assert starts == {(nudge(7, round(dose / CONSTANT, 3)),) for dose in (0.2, 0.25, 0.3)}


def test_finalists_are_different_and_saw_all_prompts() -> None:
    twice = nudge(1, 0.5)
    trials = [
        trial(0, 0.5, 1.0, False, twice),
        trial(1, 0.6, 1.0, False, twice),
        trial(2, 0.9, 1.0, True),
        trial(3, 0.3),
    ]
    assert [each.number for each in finalists_of(trials, 3)] == [1, 3]
    assert best_of([trial(2, 0.9, 1.0, True)]) is None


def test_a_fluent_setting_is_chosen_before_one_that_scores_more_in_broken_text() -> None:
    trials = [trial(0, 1.0, 0.4), trial(1, 0.3, 0.9), trial(2, 0.5, 0.8)]
    assert trials[0].score > trials[1].score
    assert [each.number for each in finalists_of(trials, 3)] == [2, 1, 0]
    best = best_of(trials)
    assert best is not None
    assert best.number == 2

"""The validation's arms and what the verdict makes of them."""

from __future__ import annotations

import pytest

from services.autosteer.desk import Desk
from services.autosteer.doses import norm_of
from services.autosteer.objective import Scores
from services.autosteer.spec import Decision, Sample, Validation
from services.autosteer.validation import (
    RANDOM,
    SYSTEM_PROMPT,
    UNSTEERED,
    WRONG_SIGN,
    Part,
    Reach,
    best_arm,
    contenders,
    parts,
    random_feature,
    summary,
    validate,
)
from services.autosteer.verdict import decide
from tests.autosteer.made import CONSTANT, SAE, PlannedDesk, key, noise, nudge, places, sample, trial

PROMPTS = 24


def validation(**levels: tuple[float, float]) -> Validation:
    """An adherence and a fluency for each arm, a little different at every prompt."""
    names = {"steered": "steered 1", "prompt": SYSTEM_PROMPT, "random": RANDOM, "wrong": WRONG_SIGN}
    levels = {"unsteered": (0.01, 1.0), **levels}
    arms = contenders([trial(0, 0.5)], "Do it.", random_feature(SAE, 100, [0], 1), CONSTANT)
    samples: dict[str, list[Sample]] = {arm.name: [] for arm in arms}
    for short, (adherence, fluency) in {
        "random": (0.02, 0.9),
        "wrong": (0.01, 0.9),
        "prompt": (0.002, 1.0),
        **levels,
    }.items():
        name = names.get(short, short)
        samples[name] = [
            sample(n, adherence * (0.8 + 0.4 * noise(name, n)), 1.0, fluency) for n in range(PROMPTS)
        ]
    return summary(arms, samples, [f"question {n}?" for n in range(PROMPTS)], 5)


def test_edits_that_lead_everything_are_to_be_used() -> None:
    verdict = decide(validation(steered=(0.6, 0.9)))
    assert verdict.decision is Decision.USE
    assert "unsteered" in verdict.reason


def test_where_a_prompt_scores_higher_it_is_named_instead() -> None:
    verdict = decide(validation(steered=(0.4, 0.9), prompt=(0.8, 1.0)))
    assert verdict.decision is Decision.PROMPT_INSTEAD
    assert "not surely" not in verdict.reason


def test_a_prompt_that_scores_barely_higher_is_named_with_that_doubt() -> None:
    arms = contenders([trial(0, 0.5)], "Do it.", None, CONSTANT)
    samples = {arm.name: [sample(n, 0.002) for n in range(PROMPTS)] for arm in arms}
    samples["steered 1"] = [sample(n, 0.5 + 0.1 * (-1) ** n) for n in range(PROMPTS)]
    samples[SYSTEM_PROMPT] = [sample(n, 0.51 - 0.1 * (-1) ** n) for n in range(PROMPTS)]
    verdict = decide(summary(arms, samples, ["?"] * PROMPTS, 5))
    assert verdict.decision is Decision.PROMPT_INSTEAD
    assert "not surely" in verdict.reason


@pytest.mark.parametrize(
    ("levels", "why"),
    [
        ({"steered": (0.9, 0.3)}, "too little fluency"),
        ({"steered": (0.012, 1.0)}, "hardly show"),
        ({"steered": (0.5, 0.9), "random": (0.55, 0.9)}, "a random feature"),
        ({"steered": (0.5, 0.9), "wrong": (0.52, 0.9)}, "the wrong sign"),
        ({"steered": (0.5, 0.9), "unsteered": (0.5, 0.9)}, "no steering"),
    ],
)
def test_edits_that_are_not_surely_better_are_not_called_safe(
    levels: dict[str, tuple[float, float]], why: str
) -> None:
    verdict = decide(validation(**levels))
    assert verdict.decision is Decision.NO_SAFE_STEER
    assert why in verdict.reason


def test_edits_that_do_not_surely_lead_a_prompt_are_not_advised() -> None:
    arms = contenders([trial(0, 0.5)], "Do it.", None, CONSTANT)
    samples = {arm.name: [sample(n, 0.002) for n in range(PROMPTS)] for arm in arms}
    samples["steered 1"] = [sample(n, 0.52 + 0.2 * (-1) ** n) for n in range(PROMPTS)]
    for adherence, decision in ((0.45, Decision.PROMPT_INSTEAD), (0.3, Decision.USE)):
        samples[SYSTEM_PROMPT] = [sample(n, adherence) for n in range(PROMPTS)]
        verdict = decide(summary(arms, samples, ["?"] * PROMPTS, 5))
        assert verdict.decision is decision
        assert ("lead of edits is not sure" in verdict.reason) is (decision is Decision.PROMPT_INSTEAD)


def test_where_edits_fail_and_a_prompt_works_it_is_named() -> None:
    verdict = decide(validation(steered=(0.9, 0.3), prompt=(0.5, 1.0)))
    assert verdict.decision is Decision.PROMPT_INSTEAD
    assert "fluency" in verdict.reason


def test_nothing_found_is_a_verdict() -> None:
    assert decide(None).decision is Decision.NO_SAFE_STEER


@pytest.mark.parametrize(
    ("adherence", "decision"), [(0.5, Decision.PROMPT_INSTEAD), (0.05, Decision.NO_SAFE_STEER)]
)
def test_where_no_edits_are_found_a_prompt_that_works_is_named(adherence: float, decision: Decision) -> None:
    arms = contenders([], "Do it.", random_feature(SAE, 100, [0], 1), CONSTANT)
    samples = {arm.name: [sample(n, 0.01) for n in range(PROMPTS)] for arm in arms}
    samples[SYSTEM_PROMPT] = [sample(n, adherence) for n in range(PROMPTS)]
    assert samples.keys() == {UNSTEERED, SYSTEM_PROMPT}
    verdict = decide(summary(arms, samples, ["?"] * PROMPTS, 5))
    assert verdict.decision is decision
    assert "No edits were found" in verdict.reason


def test_few_prompts_are_no_conclusion_and_the_verdict_says_so() -> None:
    whole = validation(steered=(0.6, 0.9))
    few = Validation(whole.prompts[:6], whole.arms, whole.differences)
    assert "Only 6 prompts" in decide(few).reason
    assert "Only" not in decide(whole).reason


def test_controls_move_the_stream_as_far_as_the_best_edits() -> None:
    best = trial(3, 0.9, 1.0, False, nudge(1, 0.3), nudge(2, -0.4))
    other = trial(4, 0.5)
    arms = {
        arm.name: arm
        for arm in contenders([best, other], "Do it.", random_feature(SAE, 9, [1, 2], 0), CONSTANT)
    }
    assert list(arms) == ["steered 1", "steered 2", UNSTEERED, SYSTEM_PROMPT, RANDOM, WRONG_SIGN]
    assert arms["steered 1"].trial == 3
    assert norm_of(arms[RANDOM].edits, CONSTANT) == pytest.approx(norm_of(best.edits, CONSTANT))
    assert arms[RANDOM].edits[0].feature.index not in (1, 2)
    assert [edit.value for edit in arms[WRONG_SIGN].edits] == [-0.3, 0.4]
    assert not arms[UNSTEERED].edits
    assert arms[SYSTEM_PROMPT].instruction


def test_the_best_arm_is_chosen_by_held_out_prompts_not_by_the_search() -> None:
    arms = contenders([trial(0, 0.9), trial(1, 0.8)], "Do it.", None, CONSTANT)
    samples = {arm.name: [sample(n, 0.2 if arm.trial == 0 else 0.6) for n in range(8)] for arm in arms}
    found = summary(arms, samples, ["?"] * 8, 1)
    best = best_arm(found)
    assert best is not None
    assert best.trial == 1
    assert {difference.arm for difference in found.differences} == {"steered 2"}


async def test_where_time_runs_out_all_arms_have_answered_the_same_prompts() -> None:
    desk: Desk = PlannedDesk(lambda edits, place: Scores(0.5, 1.0, 1.0))
    arms = contenders([trial(0, 0.9)], "Do it.", None, CONSTANT)
    samples: dict[str, list[Sample]] = {arm.name: [] for arm in arms}
    asked: list[int] = []

    def affordable(texts: int) -> bool:
        asked.append(texts)
        return len(asked) < 3 or texts <= 6

    async def told(done: int, total: int) -> None:
        if done >= 10:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        await validate([Part(40, lambda: arms)], places(40), desk, samples, told, affordable)
    sizes = {len(each) for each in samples.values()}
    assert len(sizes) == 1
    assert sizes.pop() >= 10


async def unheard(done: int, total: int) -> None:
    """Progress that nobody hears."""


async def answered(reach: Reach, prompts: int, afford: int = 1000) -> dict[str, list[Sample]]:
    """What a validation asks of three finalists, of which the second is the best; `afford` texts at most."""
    levels = (0.3, 0.6, 0.4)
    desk: Desk = PlannedDesk(
        lambda edits, place: Scores(sum(levels[n] for n, x in edits.items() if n < 3 and x > 0), 1.0, 1.0)
    )
    finalists = [trial(n, 0.5, 1.0, False, nudge(n, 0.3)) for n in range(3)]
    arms = contenders(finalists, "Do it.", random_feature(SAE, 100, [0, 1, 2], 1), CONSTANT)
    samples: dict[str, list[Sample]] = {arm.name: [] for arm in arms}

    def affordable(texts: int) -> bool:
        return sum(map(len, samples.values())) + texts <= afford

    await validate(parts(arms, samples, reach, prompts), places(prompts), desk, samples, unheard, affordable)
    return samples


async def test_prompts_go_where_the_decision_is_close() -> None:
    samples = await answered(Reach(finalists=10, controls=4), 20)
    counts = {name: len(each) for name, each in samples.items()}
    few, some, all_of_them = (RANDOM, WRONG_SIGN), ("steered 1", "steered 3"), (UNSTEERED, SYSTEM_PROMPT)
    assert counts == {
        **dict.fromkeys(few, 4),
        **dict.fromkeys(some, 10),
        **dict.fromkeys(all_of_them, 20),
        "steered 2": 20,
    }
    assert sum(counts.values()) == Reach(finalists=10, controls=4).texts(3, 2, 20)


@pytest.mark.parametrize("prompts", [2, 4, 7, 10])
async def test_with_few_prompts_no_part_asks_for_more(prompts: int) -> None:
    samples = await answered(Reach(finalists=10, controls=4), prompts)
    assert sum(map(len, samples.values())) == Reach(finalists=10, controls=4).texts(3, 2, prompts)
    assert len(samples["steered 1"]) == prompts


@pytest.mark.parametrize("afford", [20, 34, 50, 60])
async def test_where_time_runs_out_who_goes_on_has_answered_all_that_came_before(afford: int) -> None:
    samples = await answered(Reach(finalists=10, controls=4), 20, afford)
    assert sum(map(len, samples.values())) <= max(afford, 14)
    counts = {name: len(each) for name, each in samples.items()}
    assert counts[RANDOM] <= counts["steered 1"] <= counts["steered 2"] == counts[SYSTEM_PROMPT]
    for each in samples.values():
        assert [sample.prompt for sample in each] == [
            sample.prompt for sample in samples["steered 2"][: len(each)]
        ]


def test_a_finalist_that_answered_more_prompts_is_compared_on_those_that_all_answered() -> None:
    """Its later prompts, which did not choose it, pull its mean down to where it is; the others' are flattered."""
    arms = contenders([trial(0, 0.9), trial(1, 0.8)], "Do it.", None, CONSTANT)
    samples = {arm.name: [sample(n, 0.3) for n in range(8)] for arm in arms}
    samples["steered 1"] = [sample(n, 0.6 if n < 8 else 0.2) for n in range(24)]
    samples["steered 2"] = [sample(n, 0.5) for n in range(8)]
    samples[SYSTEM_PROMPT] = [sample(n, 0.1) for n in range(24)]
    found = summary(arms, samples, ["?"] * 24, 1)
    best = best_arm(found)
    assert best is not None
    assert best.name == "steered 1"
    leads = {each.over: each.score.mean for each in found.differences}
    assert leads["steered 2"] > 0
    wholly = (
        sum(s.score for s in samples["steered 1"]) / 24 - sum(s.score for s in samples[SYSTEM_PROMPT]) / 24
    )
    assert leads[SYSTEM_PROMPT] == pytest.approx(wholly)


def test_where_every_feature_is_a_candidate_there_is_none_to_be_the_control() -> None:
    assert random_feature(SAE, 3, [0, 1, 2], 1) is None
    assert random_feature(SAE, 3, [0, 2], 1) == key(1)

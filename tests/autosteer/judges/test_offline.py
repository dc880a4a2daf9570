"""The offline judge's formulas, on texts and likelihoods that are written here."""

from __future__ import annotations

import pytest

from services.autosteer.judges.offline import FORGIVEN, FULL_RATIO, OfflineJudge
from services.autosteer.judges.registry import Asked, Brief
from services.autosteer.objective import Scores, fluency_of
from services.autosteer.spec import Prompt
from services.steering.edits import Steering
from tests.autosteer.made import WrittenInference, bag_of_words

BRIEF = Brief("talk about ships", "Talk about ships.")
QUESTION = Prompt.ask("How was your day at work?")
PLAIN = "My day at work was long."


async def scored(text: str, *, loss: float = 0.0, told: float = -2.0, brief: Brief = BRIEF) -> Scores:
    """The scores of a text that the model finds this likely when it is told the behaviour."""

    def likelihood(prompt: Prompt, text: str, steering: Steering) -> float:
        return told if prompt.messages[0].role == "system" else -2.0

    judge = OfflineJudge(brief, bag_of_words, WrittenInference(likelihood=likelihood))
    (scores,) = await judge([Asked(QUESTION, text, PLAIN, -2.0, loss)])
    return scores


async def test_the_unsteered_text_itself_shows_nothing_and_is_relevant_and_fluent() -> None:
    assert await scored(PLAIN) == Scores(0.0, 1.0, 1.0)


async def test_a_text_that_is_more_like_the_behaviour_adheres() -> None:
    about = await scored("At work we talk about ships, ships and more ships.")
    assert about.adherence > 0.9
    assert about.fluency == 1.0
    assert about.relevance > 0


async def test_a_text_that_the_model_finds_likelier_when_told_adheres_though_no_word_is_shared() -> None:
    half = await scored("Aye, me day was long.", told=-2.0 + FULL_RATIO / 2)
    assert half.adherence == pytest.approx(0.5)


async def test_the_ratio_counts_only_as_far_as_the_text_is_fluent() -> None:
    broken = await scored("zug zug blah", told=-2.0 + FULL_RATIO, loss=3.3)
    assert broken.adherence == pytest.approx(fluency_of(3.3 - FULL_RATIO))
    assert broken.objective < 0.15


async def test_what_the_model_finds_likely_when_told_is_forgiven_up_to_a_nat() -> None:
    dialect = await scored("Aye, me day at work was long.", told=-1.2, loss=1.5)
    assert dialect.fluency == pytest.approx(fluency_of(1.5 - 0.8))
    assert (await scored("Aye, me day at work was long.", told=1.0, loss=1.5)).fluency == pytest.approx(
        fluency_of(1.5 - FORGIVEN)
    )
    assert (await scored("Aye, me day at work was long.", told=-5.0, loss=1.5)).fluency == fluency_of(1.5)


async def test_a_text_about_something_else_is_not_relevant() -> None:
    assert (await scored("Boats sail over water.")).relevance < 0.1


async def test_examples_pull_towards_the_positive_and_away_from_the_negative() -> None:
    brief = Brief("zzz", "", positive=("anchor mast sail",), negative=("bread oven dough",))
    towards = await scored("anchor mast sail", brief=brief)
    away = await scored("bread oven dough", brief=brief)
    assert towards.adherence > 0.9
    assert away.adherence == 0.0


async def test_the_model_is_not_asked_about_texts_that_are_alike_enough() -> None:
    inference = WrittenInference()
    judge = OfflineJudge(BRIEF, bag_of_words, inference)
    await judge([Asked(QUESTION, "talk about ships", PLAIN, -2.0, 0.0)])
    assert inference.read == []
    assert await judge([]) == []

"""Prompts and contrast pairs: nothing leaks, both sides are plausible."""

from __future__ import annotations

from services.autosteer.drafting import (
    draft_pairs,
    is_held_out,
    pairs_of,
    prompt_sets,
    questions,
    template_pairs,
)
from services.autosteer.judges.rules import fault
from services.autosteer.spec import Message, Prompt, Spec
from services.autosteer.upstream import Ask
from services.autosteer.wording import instruction_of, said_in, told, topic_of
from tests.autosteer.made import WrittenInference, bag_of_words


def test_no_prompt_is_on_both_sides_whatever_the_seed() -> None:
    ever_tuned: set[str] = set()
    ever_held: set[str] = set()
    for seed in range(20):
        sets = prompt_sets((), 16, 48, seed, has_chat_template=True)
        assert (len(sets.train), len(sets.held_out)) == (16, 48)
        ever_tuned |= {prompt.question for prompt in sets.train}
        ever_held |= {prompt.question for prompt in sets.held_out}
    assert not ever_tuned & ever_held


def test_the_same_question_said_otherwise_stays_on_its_side() -> None:
    asked = Prompt.ask("How do I make tea?")
    system = Prompt((Message("system", "Be brief."), Message("user", "How do I make tea?")))
    assert is_held_out(asked) == is_held_out(system) == is_held_out(Prompt.ask("how do I make TEA"))


def test_a_jobs_own_prompts_come_first() -> None:
    own = tuple(Prompt.ask(f"My own question {n}?") for n in range(12))
    sets = prompt_sets(own, 8, 24, 0, has_chat_template=True)
    assert {p for p in own if is_held_out(p)} == set(sets.held_out) & set(own)
    assert sets.train[0] in own


def test_a_model_without_a_chat_template_gets_plain_texts() -> None:
    assert all(prompt.text and not prompt.messages for prompt in questions(False))


def test_a_behaviour_is_about_its_topic() -> None:
    topics = {
        "talk like a pirate": "pirate",
        "write about the sea": "sea",
        "be sad": "sad",
        "use French words": "French words",
        "Always answer in the style of Hemingway.": "style of Hemingway",
        "ships": "ships",
        "be": "be",
    }
    assert {behavior: topic_of(behavior) for behavior in topics} == topics


def test_template_pairs_differ_in_the_topic_alone_and_never_repeat() -> None:
    pairs = template_pairs("write about the sea", 48, has_chat_template=True)
    assert len({said_in(pair.positive) + said_in(pair.negative) for pair in pairs}) == 48
    for pair in pairs:
        assert not is_held_out(pair.positive)
        assert "sea" in said_in(pair.positive)
        assert "sea" not in said_in(pair.negative).split()
        assert pair.positive.messages[:-1] == pair.negative.messages[:-1]


def writes(ask: Ask) -> str:
    """Half of the answers follow the instruction, some are broken."""
    told_so = ask.prompt.messages[0].role == "system"
    kind = ask.seed % 4
    if kind == 0:
        return "loops loops loops loops loops loops"
    if kind == 1 or not told_so:
        return f"An answer of no matter {ask.seed % 1000}."
    return f"We talk of ships and ships, number {ask.seed % 1000}."


async def test_drafted_pairs_read_well_and_show_the_difference() -> None:
    inference = WrittenInference(writes)
    pairs = await draft_pairs(
        "talk of ships",
        "Talk of ships.",
        32,
        inference,
        bag_of_words,
        seed=1,
        has_chat_template=True,
    )
    assert len(pairs) == 32
    drafted = [pair for pair in pairs if "We talk of ships" in said_in(pair.positive)]
    assert 8 <= len(drafted) <= 24
    assert len({said_in(pair.positive) for pair in drafted}) == len(drafted)
    for pair in pairs:
        assert not fault(said_in(pair.positive))
        assert not fault(said_in(pair.negative))
    assert all(not is_held_out(Prompt(ask.prompt.messages[-1:])) for ask in inference.asked)


async def test_negative_examples_are_written_where_there_are_none() -> None:
    chat = Prompt((Message("user", "How are you?"), Message("assistant", "Arr!")))
    pairs = await pairs_of(
        Spec(positive=(chat, Prompt(text="Arr, matey"))), WrittenInference(), has_chat_template=True
    )
    assert pairs[0].negative.messages[0] == chat.messages[0]
    assert said_in(pairs[0].negative) == "a plain answer of some words"
    assert pairs[1].negative.text


async def test_examples_of_both_kinds_are_paired_as_far_as_they_go() -> None:
    positive = tuple(Prompt(text=f"p{n}") for n in range(3))
    negative = (Prompt(text="n0"), Prompt(text="n1"))
    pairs = await pairs_of(
        Spec(positive=positive, negative=negative), WrittenInference(), has_chat_template=True
    )
    assert {p.positive for p in pairs} == set(positive)
    assert {p.negative for p in pairs} == set(negative)


def test_an_instruction_joins_a_system_message_or_makes_one() -> None:
    asked = Prompt.ask("Hi?")
    assert told(asked, "Be sad.").messages[0] == Message("system", "Be sad.")
    assert told(told(asked, "Be brief."), "Be sad.").messages[0].content == "Be brief.\nBe sad."
    assert told(Prompt(text="Once"), "Be sad.").text == "Be sad.\n\nOnce"
    assert "be sad" in instruction_of(Spec("be sad"))
    assert "Arr" in instruction_of(Spec(positive=(Prompt(text="Arr, matey"),)))

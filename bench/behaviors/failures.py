"""Where a target does not hold: behaviour by behaviour, what is missing, and the texts that show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.behaviors.behaviors import Behavior
from bench.behaviors.outcome import AUTO, RULE, TOP_HIT, Outcome, arm, lead, worst
from bench.behaviors.targets import TARGETS, Target, fluent, prompt_wins, says_prompt
from services.autosteer.spec import Sample
from services.autosteer.validation import SYSTEM_PROMPT, UNSTEERED, best_arm

SHOWN = 2
"""Prompts whose texts are shown of each failure."""
PARTS = ("adherence", "relevance", "fluency")


def failures(outcomes: Sequence[Outcome], table_of: Mapping[str, Behavior], judge: str = "") -> list[str]:
    """A section of paragraphs; it says so where nothing failed."""
    by = f", judge `{judge}`" if judge else ""
    parts = [f"## Failures{by}", "With the prompts on which auto-steer lags most."]
    found = [text for target in TARGETS for text in _of(target, outcomes, table_of, judge)]
    return [*parts, *found] if found else [parts[0], "None: every target holds for every behaviour."]


def _of(
    target: Target, outcomes: Sequence[Outcome], table_of: Mapping[str, Behavior], judge: str
) -> list[str]:
    failed = target.failures(outcomes, judge)
    if not failed:
        return []
    parts = [f"### Does not hold for {len(failed)}: {target.words}"]
    for each in failed:
        words = table_of[each.name].words
        for rival in _rivals(target, each, judge):
            parts += [f"**{words}**: {_why(target, each, rival, judge)}", *_texts(each, rival, judge)]
    return parts


def _rivals(target: Target, outcome: Outcome, judge: str) -> list[str]:
    """Whose texts show the failure."""
    if target.holds is fluent:
        return [UNSTEERED]
    if target.holds is says_prompt:
        return [SYSTEM_PROMPT]
    beaten = (UNSTEERED,) if "(d)" in target.words else (TOP_HIT, RULE)
    return [rival for rival in beaten if lead(outcome.judged_by(judge), rival).mean <= 0]


def _why(target: Target, outcome: Outcome, rival: str, judge: str) -> str:
    compared = _compared(outcome, rival, judge)
    if target.concerns is not prompt_wins:
        return compared
    return f"{compared} {_verdict(outcome)}"


def _compared(outcome: Outcome, rival: str, judge: str) -> str:
    validation = outcome.judged_by(judge)
    ours, theirs = arm(validation, AUTO), arm(validation, rival)
    gaps = {part: getattr(theirs, part).mean - getattr(ours, part).mean for part in PARTS}
    numbers = ", ".join(
        f"{part} {getattr(ours, part).mean:.2f} against {getattr(theirs, part).mean:.2f}" for part in PARTS
    )
    missing = max(gaps, key=lambda part: gaps[part])
    most = f" It lacks {missing} most." if gaps[missing] > 0 else ""
    none = "" if ours.edits else " No edits were found."
    score = f"objective {ours.score.mean:.2f} against {theirs.score.mean:.2f} of {rival}"
    return f"{score}; {numbers}.{most}{none}"


def _verdict(outcome: Outcome) -> str:
    """What the verdict was based on."""
    validation = outcome.result.validation
    best = None if validation is None else best_arm(validation)
    said = f"The verdict is {outcome.decision.name}: {outcome.result.verdict.reason}"
    if validation is None or best is None:
        return said
    prompted = [each.score.mean for each in validation.arms if each.name == SYSTEM_PROMPT]
    against = f" and {prompted[0]:.2f} for the system prompt" if prompted else ""
    return f"{said} On its own {len(validation.prompts)} prompts it saw {best.score.mean:.2f} for the edits{against}."


def _texts(outcome: Outcome, rival: str, judge: str) -> list[str]:
    shown = worst(outcome.judged_by(judge), rival, SHOWN)
    return ["\n".join(line for pair in shown for line in _side_by_side(pair, rival))]


def _side_by_side(pair: tuple[Sample, Sample], rival: str) -> list[str]:
    ours, theirs = pair
    return [
        f"- {ours.prompt}",
        f"  - {AUTO} ({_scores(ours)}): {_one_line(ours.text)}",
        f"  - {rival} ({_scores(theirs)}): {_one_line(theirs.text)}",
    ]


def _scores(sample: Sample) -> str:
    parts = " / ".join(f"{getattr(sample, part):.2f}" for part in PARTS)
    return f"{sample.score:.2f}: {parts}"


def _one_line(text: str) -> str:
    """In code marks, so that no sign of it means anything to Markdown."""
    return "`" + " ".join(text.split()).replace("`", "'") + "`"

"""The verdict: use the edits, prompt instead, or neither. It states what was measured and how sure that is."""

from __future__ import annotations

from services.autosteer.objective import FLUENT
from services.autosteer.spec import Arm, Decision, Interval, Validation, Verdict
from services.autosteer.validation import RANDOM, SYSTEM_PROMPT, UNSTEERED, WRONG_SIGN, best_arm

WORTH = 0.1
"""A mean objective below this is as good as nothing."""
PROMPT_WORTH = 0.25
"""Where edits are not safe and the behaviour as a system prompt scores no higher, it must reach this to be advised."""
FEW_PROMPTS = 16
"""On fewer prompts a lead is no conclusion, and the verdict says so."""


def decide(validation: Validation | None) -> Verdict:
    """What to do after a validation; None where nothing could be validated."""
    best = None if validation is None else best_arm(validation)
    arms = {} if validation is None else {arm.name: arm for arm in validation.arms}
    if validation is None or best is None:
        return _without_edits(arms.get(SYSTEM_PROMPT), "" if validation is None else _few(validation))
    leads = {each.over: each.score for each in validation.differences}
    shortcoming = _shortcoming(best, leads)
    few = _few(validation)
    prompted = arms.get(SYSTEM_PROMPT)
    if prompted is not None and _prompt_is_better(prompted, leads[SYSTEM_PROMPT], bool(shortcoming)):
        return Verdict(
            Decision.PROMPT_INSTEAD, _prompting(best, prompted, leads[SYSTEM_PROMPT], shortcoming) + few
        )
    if shortcoming:
        return Verdict(Decision.NO_SAFE_STEER, shortcoming + few)
    against = f" and {prompted.score.mean:.2f} with the behaviour as a system prompt" if prompted else ""
    unsteered = f"{arms[UNSTEERED].score.mean:.2f} unsteered" if UNSTEERED in arms else "unsteered"
    return Verdict(
        Decision.USE,
        f"Steered texts score {_said(best.score)} against {unsteered}{against}; "
        f"fluency {best.fluency.mean:.2f}." + few,
    )


def _without_edits(prompted: Arm | None, few: str) -> Verdict:
    """Where no edits were found: does a prompt do it?"""
    nothing = "No edits were found that show the behaviour in coherent text."
    if prompted is None or prompted.score.mean < PROMPT_WORTH or prompted.fluency.mean < FLUENT:
        return Verdict(Decision.NO_SAFE_STEER, nothing)
    return Verdict(
        Decision.PROMPT_INSTEAD,
        f"The behaviour as a system prompt scores {_said(prompted.score)}. {nothing}{few}",
    )


def _shortcoming(best: Arm, leads: dict[str, Interval]) -> str:
    """Why the best edits are not safe to use; empty if they are."""
    if best.fluency.mean < FLUENT:
        return f"The best edits leave too little fluency: {best.fluency.mean:.2f}, at least {FLUENT:.2f} is asked for."
    if best.score.mean < WORTH:
        return f"The best edits hardly show the behaviour: {_said(best.score)}."
    for arm in (UNSTEERED, RANDOM, WRONG_SIGN):
        lead = leads.get(arm)
        if lead is not None and lead.low <= 0:
            beside = {UNSTEERED: "no steering", RANDOM: "a random feature", WRONG_SIGN: "the wrong sign"}[arm]
            return f"The best edits are not surely better than {beside}: lead {_said(lead)}."
    return ""


def _prompt_is_better(prompted: Arm, lead: Interval, unsafe: bool) -> bool:
    """Edits must surely lead, as over everything else: they were chosen among several, and a prompt costs less fluency
    and relevance (docs/decisions/0006)."""
    if prompted.score.mean < WORTH or prompted.fluency.mean < FLUENT:
        return False
    return lead.low <= 0 or (unsafe and prompted.score.mean >= PROMPT_WORTH)


def _prompting(best: Arm, prompted: Arm, lead: Interval, shortcoming: str) -> str:
    sure = "" if lead.high < 0 or shortcoming else ", though not surely"
    why = f" {shortcoming}" if shortcoming else ""
    compared = f"against {_said(best.score)} for the best edits"
    if prompted.score.mean < best.score.mean:
        why = why or (
            f" The lead of edits is not sure: {_said(lead)}. A prompt is simpler, and costs less fluency and relevance."
        )
        return f"The behaviour as a system prompt scores {_said(prompted.score)} {compared}.{why}"
    return f"The behaviour as a system prompt scores higher{sure}: {_said(prompted.score)} {compared}.{why}"


def _few(validation: Validation) -> str:
    count = len(validation.prompts)
    return f" Only {count} prompts: take this as a hint." if count < FEW_PROMPTS else ""


def _said(value: Interval) -> str:
    return f"{value.mean:.2f} [{value.low:.2f}, {value.high:.2f}]"

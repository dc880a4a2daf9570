"""What a job may ask for: checked before it is queued."""

from __future__ import annotations

import math
from urllib.parse import urlsplit

from services.autosteer.judges.roster import judge_names
from services.autosteer.spec import Prompt, Spec
from services.errors import InvalidField

MAX_BEHAVIOR = 2_000
"""Characters of a behaviour."""
MAX_TEXTS = 256
"""Positive, negative texts and prompts, each."""
MAX_TEXT = 20_000
"""Characters of one of them."""
MAX_FEATURES = 5
MAX_TRIALS = 500
MAX_TOKENS = 256
MAX_SECONDS = 24 * 3600.0
MIN_SECONDS = 10.0
MAX_TEMPERATURE = 2.0
MAX_NAME = 500
MAX_SEED = 2**63 - 1


def check(spec: Spec, field: str = "spec") -> None:
    """Raises InvalidField with the field at fault; `field` is the path of the spec in its request."""

    def refuse(name: str, problem: str) -> None:
        raise InvalidField(f"{field}.{name}", problem)

    if not spec.behavior.strip() and not spec.positive:
        refuse("behavior", "is empty, and there are no positive texts; allowed: one of them, or both")
    if len(spec.behavior) > MAX_BEHAVIOR:
        refuse("behavior", f"has {len(spec.behavior)} characters; allowed: at most {MAX_BEHAVIOR}")
    for name, prompts in (
        ("positive", spec.positive),
        ("negative", spec.negative),
        ("prompts", spec.prompts),
    ):
        _check_texts(prompts, f"{field}.{name}")
    if spec.negative and not spec.positive:
        refuse("negative", "given without positive texts; allowed: both, or positive ones alone")
    if shared := set(spec.positive) & set(spec.negative):
        place = spec.negative.index(next(iter(shared)))
        refuse(f"negative[{place}]", "is among the positive texts too; allowed: in one of the sets")
    for name in ("model", "sae"):
        if len(getattr(spec, name)) > MAX_NAME:
            refuse(name, f"has {len(getattr(spec, name))} characters; allowed: at most {MAX_NAME}")
    for name, low, high in (
        ("max_features", 1, MAX_FEATURES),
        ("max_trials", 0, MAX_TRIALS),
        ("max_tokens", 0, MAX_TOKENS),
        ("seed", 0, MAX_SEED),
        ("temperature", 0.0, MAX_TEMPERATURE),
    ):
        value = getattr(spec, name)
        if not (math.isfinite(value) and low <= value <= high):
            refuse(name, f"is {value:g}; allowed: {low:g} to {high:g}")
    seconds = spec.budget.seconds
    if seconds is not None and not (math.isfinite(seconds) and MIN_SECONDS <= seconds <= MAX_SECONDS):
        refuse("budget.seconds", f"is {seconds:g}; allowed: {MIN_SECONDS:g} to {MAX_SECONDS:g}")
    _check_judge(spec, field)


def _check_texts(prompts: tuple[Prompt, ...], field: str) -> None:
    if len(prompts) > MAX_TEXTS:
        raise InvalidField(field, f"holds {len(prompts)} texts; allowed: at most {MAX_TEXTS}")
    for number, prompt in enumerate(prompts):
        size = len(prompt.text) + sum(len(message.content) for message in prompt.messages)
        if not size:
            raise InvalidField(f"{field}[{number}]", "is empty; allowed: a chat or a text")
        if size > MAX_TEXT:
            raise InvalidField(f"{field}[{number}]", f"has {size} characters; allowed: at most {MAX_TEXT}")


def _check_judge(spec: Spec, field: str) -> None:
    judge = spec.judge
    if judge.name not in judge_names():
        raise InvalidField(
            f"{field}.judge.name", f"is {judge.name[:100]!r}; allowed: {', '.join(judge_names())}"
        )
    if judge.name == "offline" and judge.endpoint:
        raise InvalidField(f"{field}.judge.endpoint", "the offline judge has none; allowed: empty")
    if judge.name != "offline":
        parts = urlsplit(judge.endpoint)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise InvalidField(f"{field}.judge.endpoint", "is no URL; allowed: http:// or https://")
    if judge.name == "openai" and not judge.model:
        raise InvalidField(
            f"{field}.judge.model", "is empty; allowed: the model that the endpoint is asked for"
        )

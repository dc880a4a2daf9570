"""All judges: a new one is a new file, and its name here."""

from __future__ import annotations

from services.autosteer.judges import offline, openai, scorer
from services.autosteer.judges.registry import REGISTERED, Bench, Judge
from services.autosteer.spec import JudgeChoice

__all__ = ["UnknownJudge", "judge_names", "make_judge", "offline", "openai", "scorer"]


class UnknownJudge(ValueError):
    """No judge of that name is registered."""


def judge_names() -> list[str]:
    """All names."""
    return sorted(REGISTERED)


def make_judge(choice: JudgeChoice, bench: Bench) -> Judge:
    """The judge of a job. Raises UnknownJudge."""
    if choice.name not in REGISTERED:
        raise UnknownJudge(f"no judge {choice.name!r}; there are: {', '.join(judge_names())}")
    return REGISTERED[choice.name](choice, bench)

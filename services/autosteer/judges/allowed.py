"""Which endpoints may be asked to judge: a job's author chooses one, and the request to it is made from here."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from services.autosteer.spec import JudgeChoice
from services.errors import InvalidField


def check_endpoint(judge: JudgeChoice, allowed: Sequence[str] | None) -> None:
    """Raises InvalidField unless the judge's endpoint begins like one of those that are allowed; None allows all."""
    if allowed is None or not judge.endpoint:
        return
    if not any(_begins(judge.endpoint, beginning) for beginning in allowed):
        choices = ", ".join(allowed) or "none; use the offline judge"
        raise InvalidField("spec.judge.endpoint", f"is none that this server asks; allowed: {choices}")


def _begins(url: str, beginning: str) -> bool:
    """Whether it is the same server, and a path below that of the beginning."""
    there, allowed = urlsplit(url), urlsplit(beginning)
    path = allowed.path.rstrip("/")
    same = (there.scheme, there.netloc) == (allowed.scheme, allowed.netloc)
    return same and (there.path == path or there.path.startswith(f"{path}/")) and ".." not in there.path

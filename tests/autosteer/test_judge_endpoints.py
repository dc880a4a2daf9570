"""Claims about whom a job may have its texts judged by."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from pydantic import SecretStr, ValidationError

from services.autosteer.judges.allowed import check_endpoint
from services.autosteer.settings import AutoSteerSettings
from services.autosteer.spec import JudgeChoice
from services.errors import InvalidField

ALLOWED = ("https://judge.example/v1", "http://scorer:8000/")


@pytest.mark.parametrize(
    "url",
    [
        "https://judge.example/v1",
        "https://judge.example/v1/chat?x=1",
        "http://scorer:8000",
        "http://scorer:8000/score",
    ],
)
def test_an_endpoint_below_one_that_is_allowed_may_judge(url: str) -> None:
    check_endpoint(JudgeChoice("http", url), ALLOWED)


@pytest.mark.parametrize(
    "url",
    [
        "http://judge.example/v1",
        "https://judge.example/v10",
        "https://judge.example/v1/../admin",
        "https://judge.example@evil.example/v1",
        "https://judge.example.evil.example/v1",
        "https://judge.example:444/v1",
        "http://169.254.169.254/latest/meta-data",
        "http://scorer:80000/",
    ],
)
def test_no_other_endpoint_may_however_it_resembles_one(url: str) -> None:
    with pytest.raises(InvalidField, match=r"spec\.judge\.endpoint"):
        check_endpoint(JudgeChoice("http", url), ALLOWED)


@pytest.mark.parametrize(("allowed", "is_free"), [(None, True), ((), False)])
def test_unset_allows_all_and_an_empty_list_none(allowed: Sequence[str] | None, is_free: bool) -> None:
    check_endpoint(JudgeChoice("offline"), allowed)
    if is_free:
        check_endpoint(JudgeChoice("http", "http://anywhere/"), allowed)
    else:
        with pytest.raises(InvalidField, match="use the offline judge"):
            check_endpoint(JudgeChoice("http", "http://anywhere/"), allowed)


def test_a_key_for_judges_goes_only_to_those_that_are_named() -> None:
    with pytest.raises(ValidationError, match="HEARTH_AUTOSTEER_JUDGE_ENDPOINTS"):
        AutoSteerSettings(judge_key=SecretStr("secret"))
    AutoSteerSettings(judge_key=SecretStr("secret"), judge_endpoints=list(ALLOWED))

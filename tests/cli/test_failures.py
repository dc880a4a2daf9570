"""What goes wrong is one red line with the field and what is allowed, then a hint; exit code 1."""

from __future__ import annotations

import pytest

from services import errors
from tests.cli.conftest import Run
from tests.cli.fake_server import FakeInference

CASES = [
    (
        errors.InvalidField("steering.edits[0].nudge", "400 is not allowed; allowed: -100 to 100"),
        "allowed: -100 to 100",
        "",
    ),
    (
        errors.FeatureOutOfRange("steering.edits[0].feature.index", 9999, 4096),
        "allowed: 0 to 4095",
        "hearth models",
    ),
    (errors.ModelNotServed("x/y", ["a/b"]), "served: a/b", "hearth models"),
    (errors.SaeNotServed("sae", "x", ["a"]), "loaded: a", "hearth models"),
    (errors.PromptTooLong("prompt", 9000, 8192), "at most 8192", "hearth tokenize"),
    (errors.QueueFull(512, 3.0), "512 requests wait", "Try again in 3 s"),
    (errors.DeadlineUnreachable("the deadline passed"), "deadline", ""),
]


@pytest.mark.parametrize(("error", "line", "hint"), CASES, ids=[type(case[0]).__name__ for case in CASES])
def test_an_error_is_one_line_and_a_hint(
    run: Run, service: FakeInference, error: errors.HearthError, line: str, hint: str
) -> None:
    service.error = error
    done = run("logits", "a", "--nudge", "1=1")
    assert done.code == 1
    assert done.out == ""
    first, *rest = done.err.splitlines()
    assert first.startswith("error: ")
    assert line in first
    assert first.count(error.field) == (1 if error.field else len(first) + 1)
    assert hint in "".join(rest)


def test_a_failing_side_ends_the_whole_chat(run: Run, service: FakeInference) -> None:
    service.error = errors.InvalidField("steering.edits[0].nudge", "wrong")
    for more in ([], ["--json"], ["--plain"]):
        done = run("chat", "Hi", "--nudge", "1=1", *more)
        assert done.code == 1
        assert done.err.splitlines()[0] == "error: steering.edits[0].nudge: wrong"


def test_an_internal_error_names_the_request_in_the_servers_log(run: Run, service: FakeInference) -> None:
    service.error = errors.HearthError("secret detail")
    done = run("logits", "a")
    assert done.code == 1
    assert "look for request" in done.err


def test_where_no_server_answers_it_is_said_how_to_start_one(run: Run) -> None:
    done = run("chat", "Hi", "--address", "localhost:1")
    assert done.code == 1
    assert "No server answers at localhost:1" in done.err
    assert "make up" in done.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["chat", "Hi", "--nudge", "ocean"], "1234=0.6"),
        (["chat", "Hi", "--when", "7"], "1234>0.5"),
        (["chat", "Hi", "--seed", "99999999999999999999"], "--seed"),
        (["chat", "Hi", "--steering", "missing.json"], "missing.json"),
        (["inspect"], "text"),
        (["logits", "a", "-k", "0"], "-k"),
    ],
)
def test_a_command_that_was_not_understood_asks_nothing(
    run: Run, service: FakeInference, arguments: list[str], says: str
) -> None:
    done = run(*arguments)
    assert done.code == 2
    assert says in " ".join(done.err.split())
    assert not service.asked

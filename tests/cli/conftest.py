"""The command line against a scripted server."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from typer.testing import CliRunner

from services.cli.app import app
from tests.cli.fake_server import FakeInference, running


@pytest.fixture
def service() -> FakeInference:
    return FakeInference()


@pytest.fixture
def address(service: FakeInference) -> Iterator[str]:
    with running(service) as where:
        yield where


NOBODY = "localhost:1"
"""Where nothing listens."""
Run = Callable[..., "Done"]


class Done:
    """What a command printed, and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run(address: str) -> Run:
    """Runs `hearth` in this process, its output no terminal and 80 columns wide unless said otherwise."""

    def run_it(*arguments: str, stdin: str = "", **environment: str) -> Done:
        environment = {
            "COLUMNS": "80",
            "HEARTH_ADDRESS": address,
            "HEARTH_FEATURES_ADDRESS": NOBODY,
            "TERM": "xterm-256color",
            **environment,
        }
        result = CliRunner().invoke(app, arguments, input=stdin, env=environment, prog_name="hearth")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Done(result.exit_code, result.stdout, result.stderr)

    return run_it

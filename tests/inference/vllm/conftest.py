"""The engines that the claims of this folder are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec

import pytest

from services.inference.vllm.engine import VllmEngine
from tests.inference import driver
from tests.inference.driver import Answer, Request
from tests.inference.vllm import served

INSTALLED = find_spec("vllm") is not None
ABSENT = "vLLM is not installed here: `make test-vllm` runs these in an environment that has it"

Asked = Callable[[Sequence[Request]], list[Answer]]
"""The answers to requests that run together."""


class OneAtATime:
    """The engine of a test; the last one stays for the next test that wants the same, for vLLM starts slowly, and no
    two stand in one process: what ends the one takes the process groups of the other."""

    def __init__(self) -> None:
        self._settings: dict[str, object] = {}
        self._engine: VllmEngine | None = None

    def __call__(self, **settings: object) -> VllmEngine:
        """An engine with these settings."""
        if self._engine is None or settings != self._settings:
            self.stop()
            self._engine, self._settings = served.start(**settings), settings  # type: ignore[arg-type]
        return self._engine

    def stop(self) -> None:
        """Ends the one that stands."""
        if self._engine is not None:
            self._engine.stop()
            self._engine = None


@pytest.fixture(scope="session")
def engine_with() -> Iterator[OneAtATime]:
    """Starts vLLM with the tests' model."""
    if not INSTALLED:
        pytest.skip(ABSENT)
    engines = OneAtATime()
    yield engines
    engines.stop()


@pytest.fixture
def vllm_engine(engine_with: OneAtATime) -> VllmEngine:
    """vLLM as most tests want it."""
    return engine_with()


@pytest.fixture(params=["torch", "vllm"])
def asked(request: pytest.FixtureRequest) -> Asked:
    """Either engine with the same model and the same SAEs."""
    if request.param == "vllm":
        engine = request.getfixturevalue("vllm_engine")
        return lambda requests: served.ask_all(engine, requests)

    def together(requests: Sequence[Request]) -> list[Answer]:
        engine = driver.engine_of(served.wide())
        answers = [driver.submit(engine, each, served.wide().saes) for each in requests]
        driver.finish(engine)
        return answers

    return together

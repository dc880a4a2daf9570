"""The engines that the claims of this folder are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec

import pytest

from services.inference.engine_thread import EngineLimits
from tests.inference import driver
from tests.inference.driver import Answer, Request
from tests.inference.vllm import served

INSTALLED = find_spec("vllm") is not None
ABSENT = "vLLM is not installed here: `make test-vllm` runs these in an environment that has it"

Asked = Callable[[Sequence[Request]], list[Answer]]
"""The answers to requests that run together."""


@pytest.fixture(scope="session")
def vllm_engine() -> Iterator[object]:
    """vLLM with the tests' model."""
    if not INSTALLED:
        pytest.skip(ABSENT)
    engine = served.start(EngineLimits(max_running=32))
    yield engine
    engine.stop()


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

"""OpenAI's own SDK, as people use it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import openai
import pytest
import pytest_asyncio

from tests.gateway.light import Light

CHAT = [{"role": "user", "content": "tell me of the sea"}]
LONG = {"ignore_eos": True}
"""So that the tiny model, which may end an answer at once, says something."""


@pytest.fixture(params=["/v1", "/api/inference/v1"])
def base(request: pytest.FixtureRequest) -> str:
    """Both paths that serve the contract."""
    return str(request.param)


def sdk_of(light: Light, key: str = "dev", base: str = "/v1") -> openai.OpenAI:
    """The SDK's client; errors are raised at once."""
    return openai.OpenAI(api_key=key, base_url=light.url + base, max_retries=0)


@pytest.fixture(scope="session")
def sdk(light: Light) -> Iterator[openai.OpenAI]:
    """The SDK with the key `dev`."""
    with sdk_of(light) as client:
        yield client


@pytest_asyncio.fixture
async def async_sdk(light: Light) -> AsyncIterator[openai.AsyncOpenAI]:
    """The SDK's asynchronous client."""
    async with openai.AsyncOpenAI(api_key="dev", base_url=f"{light.url}/v1", max_retries=0) as client:
        yield client

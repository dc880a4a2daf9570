"""The platforms that the gateway's tests work on: `light` for most, `platform` where the real model is needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.gateway.light import Light, light_in
from tests.gateway.platform import Platform, platform_in


@pytest.fixture(scope="session")
def light(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Light]:
    """Everything in this process with a tiny model; shared, so a test that writes takes a key of its own owner."""
    with light_in(tmp_path_factory.mktemp("light")) as running:
        yield running


@pytest.fixture
def client(light: Light) -> httpx.Client:
    """A client with the key `dev`."""
    return light.client()


@pytest.fixture(scope="session")
def platform(
    embedded_model: Path, sentence_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    """The platform as `make up` starts it, once for all tests; those that use it are marked `model`."""
    with platform_in(tmp_path_factory.mktemp("platform")) as running:
        yield running

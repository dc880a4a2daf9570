"""The servers that clients are tried on: `light` for Python's, in the default run; the real mesh for all languages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hearth_client import Client, Mesh
from tests.gateway.light import Light, light_in


@pytest.fixture(scope="session")
def light(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Light]:
    """All servers in this process with a tiny model."""
    with light_in(tmp_path_factory.mktemp("light")) as running:
        yield running


@pytest.fixture(scope="session")
def mesh(light: Light) -> Mesh:
    """Where the servers of `light` are."""
    return Mesh(
        inference=light.settings.inference,
        features=light.settings.features,
        autosteer=light.settings.autosteer,
    )


@pytest.fixture
def client(mesh: Mesh) -> Iterator[Client]:
    """A client of `light`."""
    with Client(mesh=mesh, owner="ann") as client:
        yield client

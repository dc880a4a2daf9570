"""Health on a port of its own, as probes of Kubernetes and of images ask it."""

from __future__ import annotations

import asyncio

import pytest

from services.rpc.health_port import LIVENESS, HealthSettings, OwnHealth
from services.rpc.probe import main, serves
from services.rpc.server import ServerSettings, serve


@pytest.fixture
def anywhere(monkeypatch):
    monkeypatch.setenv("HEARTH_HEALTH_PORT", "0")


async def asked(port: int, service: str = "") -> bool:
    return await asyncio.to_thread(serves, port, service)


async def test_a_server_answers_for_itself_on_the_health_port(anywhere):
    server = await serve({}, ServerSettings(drain_seconds=0), serving=False, handle_signals=False)
    port = server.health_port.port
    assert port != server.port
    assert not await asked(port)
    await server.set_serving("", True)
    assert await asked(port)
    await server.drain()
    assert not await asked(port)


async def test_a_process_lives_while_what_it_needs_is_away(anywhere):
    server = await serve({}, ServerSettings(drain_seconds=0), serving=False, handle_signals=False)
    assert await asked(server.health_port.port, LIVENESS)
    assert not await asked(server.health_port.port, "no.such.Service")
    await server.drain()


async def test_a_process_that_serves_nothing_else_answers_too():
    health = OwnHealth(HealthSettings(health_port=0))
    await health.open()
    assert await asked(health.port.port, LIVENESS)
    assert not await asked(health.port.port)
    await health.serve(True)
    assert await asked(health.port.port)
    await health.close()


async def test_a_taken_health_port_is_an_error_that_names_the_setting():
    first = OwnHealth(HealthSettings(health_port=0))
    await first.open()
    second = OwnHealth(HealthSettings(health_port=first.port.port))
    with pytest.raises(OSError, match="HEARTH_HEALTH_PORT"):
        await second.open()
    await first.close()


async def test_without_a_port_nothing_listens(monkeypatch):
    monkeypatch.delenv("HEARTH_HEALTH_PORT", raising=False)
    server = await serve({}, ServerSettings(drain_seconds=0), handle_signals=False)
    assert server.health_port is None
    await server.drain()


async def test_the_images_health_check_ends_with_what_the_process_says(monkeypatch):
    health = OwnHealth(HealthSettings(health_port=0))
    await health.open()
    monkeypatch.setenv("HEARTH_HEALTH_PORT", str(health.port.port))
    assert await asyncio.to_thread(main, []) == 1
    await health.serve(True)
    assert await asyncio.to_thread(main, []) == 0
    await health.close()

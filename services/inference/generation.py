"""Generating text for one request."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from services.inference.host import ModelHost
from services.inference.requests import GenerateCall
from services.inference.sequence import Event
from services.inference.streams import EventStream, run


async def generate(host: ModelHost, call: GenerateCall, ids: list[int], owner: str) -> AsyncGenerator[Event]:
    """The events of a generation; leaving it early frees its place at the engine's next step."""
    stream = EventStream()
    sequence = host.generation(
        ids, call.steering, call.sampling, stream.sink, report=call.report, owner=owner
    )
    async with aclosing(run(host.engine, sequence, stream)) as events:
        async for event in events:
            yield event

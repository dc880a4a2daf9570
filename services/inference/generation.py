"""Generating text for one request."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from services.inference.host import ModelHost
from services.inference.meters import TokenClock
from services.inference.requests import GenerateCall
from services.inference.sequence import Delta, Event, Finished, Said
from services.inference.streams import EventStream, run
from services.rpc.logs import tally


async def generate(host: ModelHost, call: GenerateCall, ids: list[int], owner: str) -> AsyncGenerator[Event]:
    """The events of a generation; leaving it early frees its place at the engine's next step."""
    clock = TokenClock(host.meters)
    stream = EventStream(clock)
    sequence = host.generation(
        ids, call.steering, call.sampling, stream.sink, report=call.report, owner=owner
    )
    reason = "cancelled"
    try:
        async with aclosing(run(host.engine, sequence, stream)) as events:
            host.meters.began(len(ids))
            async for event in _remembered(events) if call.receipt else events:
                if isinstance(event, Finished):
                    reason = event.reason.value
                    host.meters.came_to_end(event.times.queue, event.cached_tokens)
                yield event
    except Exception:  # not a caller who leaves
        reason = "failed"
        raise
    finally:
        host.meters.ended[reason] += 1
        tally(tokens=len(ids) + clock.tokens, completion_tokens=clock.tokens)


async def _remembered(events: AsyncGenerator[Event]) -> AsyncGenerator[Event]:
    """The same events; the last has the whole answer."""
    texts: list[str] = []
    tokens: list[int] = []
    async for event in events:
        match event:
            case Delta(text, choices):
                texts.append(text)
                tokens += [choice.token for choice in choices]
                yield event
            case Finished():
                yield replace(event, said=Said("".join(texts), tuple(tokens)))
            case _:
                yield event

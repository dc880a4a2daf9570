"""Queues are filled by a few owners at once who all want the same: some are refused, all are served in the end."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

from bench.soak import messages
from bench.soak.journal import Journal
from bench.soak.patience import GivenUp, Who, patiently
from bench.soak.ways import GrpcWay
from hearth.v1 import autosteer_service_pb2 as autosteer_pb

OWNERS = 8
EACH = 24
"""Chats of one token that each owner asks for at once: 192, where 128 may wait and 32 run."""
JOBS = 110
"""Jobs that one owner creates; 100 may wait."""
NUMBER = -1
"""The number under which the journal has them: they are no researchers."""


async def flood_inference(journal: Journal, flooders: Sequence[GrpcWay], model: str) -> None:
    """More chats than may wait, from owners who want the same."""
    flood = str(uuid.uuid4())[:8]

    async def ask(owner: int, way: GrpcWay, number: int) -> None:
        asked = messages.Chat(f"{flood}-{owner}-{number}", number, 1, messages.nudge(number, 0.2))

        async def said() -> None:
            async for _ in way.chat({}, asked.message(model)):
                pass

        try:
            await patiently(journal, Who(NUMBER, "grpc"), "flood", said)
            journal.write("served", flood=flood, owner=owner)
        except GivenUp:
            journal.write("unserved", flood=flood, owner=owner)

    tasks = [ask(owner, way, number) for owner, way in enumerate(flooders) for number in range(EACH)]
    await asyncio.gather(*tasks)


async def flood_autosteer(journal: Journal, flooders: Sequence[GrpcWay], model: str) -> None:
    """More jobs than one owner may have waiting. All are cancelled once one was refused, whose turn then comes."""
    way, who = flooders[0], Who(NUMBER, "grpc")
    spec = messages.job(model, "write about boats", 10, 1)
    created: list[str] = []
    gone = asyncio.Event()

    async def create() -> Any:
        request = messages.create_job(spec, str(uuid.uuid4()))
        try:
            made = await patiently(
                journal, who, "flood of jobs", lambda: way.call("autosteer", "CreateAutoSteerJob", request)
            )
        except GivenUp:
            journal.write("unserved", flood="jobs", owner=0)
            return
        created.append(made.job.id)
        if gone.is_set():
            await cancel(made.job.id)

    async def cancel(job: str) -> None:
        request = autosteer_pb.CancelAutoSteerJobRequest(id=job)
        try:
            await patiently(
                journal, who, "cancel job", lambda: way.call("autosteer", "CancelAutoSteerJob", request)
            )
        except GivenUp:
            journal.write("unserved", flood="jobs", owner=0)

    creating = [asyncio.create_task(create()) for _ in range(JOBS)]
    await asyncio.wait(creating, timeout=5.0)
    gone.set()
    await asyncio.gather(*map(cancel, list(created)), *creating)

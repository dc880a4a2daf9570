"""Queues are filled by a few owners at once who all want the same: some are refused, all are served in the end."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

from bench.soak import messages
from bench.soak.journal import Journal
from bench.soak.patience import Failure, GivenUp, Kind, Who, patiently
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
    full = asyncio.Event()
    created: list[str] = []

    async def call(method: str, request: Any) -> Any:
        try:
            return await way.call("autosteer", method, request)
        except Failure as failure:
            if failure.kind is Kind.REFUSED:
                full.set()
            raise

    async def create() -> None:
        request = messages.create_job(spec, str(uuid.uuid4()))
        made = await patiently(journal, who, "flood of jobs", lambda: call("CreateAutoSteerJob", request))
        created.append(made.job.id)
        if full.is_set():
            await cancel(made.job.id)

    async def cancel(job: str) -> None:
        request = autosteer_pb.CancelAutoSteerJobRequest(id=job)
        await patiently(journal, who, "cancel job", lambda: call("CancelAutoSteerJob", request))

    creating = asyncio.gather(*(create() for _ in range(JOBS)), return_exceptions=True)
    refused = asyncio.create_task(full.wait())
    waiting: set[asyncio.Future[Any]] = {creating, refused}
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    full.set()
    ended = await asyncio.gather(*map(cancel, list(created)), return_exceptions=True)
    for each in [*ended, *await creating]:
        if isinstance(each, BaseException):
            journal.write("unserved", flood="jobs", owner=0, how=str(each))

"""Whether a process does its work again: the smallest question that only it can answer."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import httpx2
import redis.asyncio as redis

from bench.soak import messages
from bench.soak.journal import Record
from bench.soak.patience import Failure, Kind
from bench.soak.ways import GrpcWay
from hearth.v1 import autosteer_service_pb2 as autosteer_pb

EACH_SECONDS = 30.0
"""How long one question may take."""
PAUSE = 0.2
GIVE_UP = 120.0
Probe = Callable[[], Awaitable[None]]


class Probes:
    """One for each process, and one for what features does last: search by meaning.

    A probe returns where the process answers well, and raises Failure or TimeoutError.
    """

    def __init__(self, way: GrpcWay, client: httpx2.AsyncClient, key: str, model: str, socket: Path) -> None:
        self._way, self._client, self._key, self._model, self._socket = way, client, key, model, socket
        self._told = 0.0
        """When a job's newest event was written, in seconds of the clock."""
        self.of: Mapping[str, Probe] = {
            "inference": self._generates,
            "features": self._looks_up,
            "search": self._finds,
            "autosteer": self._lists,
            "worker": self._begins,
            "broker": self._pings,
            "gateway": self._opens,
        }

    def hear(self, record: Record) -> None:
        """Listens to the journal for what jobs tell."""
        if record["kind"] == "event":
            self._told = max(self._told, record["at"])

    async def recovery(self, target: str) -> float | None:
        """Seconds until a process gives its first good answer, from now; None where it does not."""
        began = time.monotonic()
        while time.monotonic() - began < GIVE_UP:
            try:
                # A job waits for its worker; another one would only queue behind it.
                limit = GIVE_UP if target == "worker" else EACH_SECONDS
                await asyncio.wait_for(self.of[target](), limit)
            except (Failure, TimeoutError):
                await asyncio.sleep(PAUSE)
            else:
                return time.monotonic() - began
        return None

    async def _generates(self) -> None:
        asked = messages.Chat(f"Say {uuid.uuid4()}", 1, 1, messages.nudge(0, 0.1))
        async for _ in self._way.chat({}, asked.message(self._model)):
            pass

    async def _looks_up(self) -> None:
        await self._way.call("features", "BatchGetFeatures", messages.lookup([1]))

    async def _finds(self) -> None:
        await self._way.call("features", "SearchFeatures", messages.search(f"boats {uuid.uuid4()}"))

    async def _lists(self) -> None:
        await self._way.call("autosteer", "ListAutoSteerJobs", autosteer_pb.ListAutoSteerJobsRequest())

    async def _opens(self) -> None:
        try:
            answer = await self._client.get(
                "/hearth/v1/variants", headers={"authorization": f"Bearer {self._key}"}
            )
        except httpx2.HTTPError as error:
            raise Failure(Kind.AWAY, type(error).__name__) from None
        if answer.status_code != 200:
            raise Failure(Kind.AWAY, str(answer.status_code))

    async def _begins(self) -> None:
        """A worker takes up a new job, which is cancelled then; or a job that was there before tells something new."""
        asked = time.time()
        spec = messages.job(self._model, "write about boats", 10, 1)
        request = messages.create_job(spec, str(uuid.uuid4()))
        job = (await self._way.call("autosteer", "CreateAutoSteerJob", request)).job
        try:
            while job.state == autosteer_pb.AUTO_STEER_STATE_QUEUED and self._told < asked:
                await asyncio.sleep(PAUSE)
                get = autosteer_pb.GetAutoSteerJobRequest(id=job.id)
                job = (await self._way.call("autosteer", "GetAutoSteerJob", get)).job
        finally:
            cancel = autosteer_pb.CancelAutoSteerJobRequest(id=job.id)
            await self._way.call("autosteer", "CancelAutoSteerJob", cancel)

    async def _pings(self) -> None:
        try:
            async with redis.Redis(unix_socket_path=str(self._socket)) as broker:
                await broker.ping()
        except redis.RedisError as error:
            raise Failure(Kind.AWAY, type(error).__name__) from None

"""Calls of auto-steer: plain data in, plain data out, RpcFailure where a call fails."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import grpc

from hearth.v1 import autosteer_service_pb2 as pb
from hearth.v1 import autosteer_service_pb2_grpc as pb_grpc
from services.cli.clients.channel import Client, pages
from services.cli.steered import End, Happening, SteerJob, SteerWish
from services.cli.wire import autosteer as wire
from services.rpc.channel import RpcFailure, rpc_failures

_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
TRIES, PAUSE = 60, 1.0
"""How often in a row a watcher whose server is away calls again, and after how many seconds."""


class AutoSteerClient(Client):
    """Calls on behalf of one owner, who sees no other's jobs."""

    def __init__(self, address: str, owner: str = "") -> None:
        super().__init__(address)
        self._metadata = self.owned(owner)

    def _open(self, channel: grpc.aio.Channel) -> None:
        self._stub: pb_grpc.AutoSteerServiceAsyncStub = pb_grpc.AutoSteerServiceStub(channel)

    async def create(self, wish: SteerWish) -> SteerJob:
        """A job in the queue."""
        request = pb.CreateAutoSteerJobRequest(spec=wire.spec_message(wish), request_id=str(uuid.uuid4()))
        with rpc_failures():
            response = await self._stub.CreateAutoSteerJob(request, metadata=self._metadata)
        return wire.job_from_proto(response.job)

    async def get(self, job_id: str) -> SteerJob:
        """A job."""
        with rpc_failures():
            request = pb.GetAutoSteerJobRequest(id=job_id)
            response = await self._stub.GetAutoSteerJob(request, metadata=self._metadata)
        return wire.job_from_proto(response.job)

    async def listed(self, most: int) -> list[SteerJob]:
        """The owner's newest jobs."""
        found: list[SteerJob] = []
        request = pb.ListAutoSteerJobsRequest(page_size=min(most, 1000))
        async for page in pages(self._stub.ListAutoSteerJobs, request, self._metadata):
            found += map(wire.job_from_proto, page.jobs)
            if len(found) >= most:
                break
        return found[:most]

    async def cancel(self, job_id: str) -> SteerJob:
        """The job, ended."""
        with rpc_failures():
            request = pb.CancelAutoSteerJobRequest(id=job_id)
            response = await self._stub.CancelAutoSteerJob(request, metadata=self._metadata)
        return wire.job_from_proto(response.job)

    async def watch(self, job_id: str) -> AsyncIterator[Happening]:
        """A job's events from the first to the last, however often the server goes away meanwhile."""
        after = failures = 0
        while True:
            request = pb.WatchAutoSteerJobRequest(id=job_id, after_sequence=after)
            try:
                with rpc_failures():
                    async for message in self._stub.WatchAutoSteerJob(request, metadata=self._metadata):
                        after, failures = message.sequence, 0
                        happening = wire.happening_from_proto(message)
                        if happening is not None:
                            yield happening
                            if isinstance(happening.said, End):
                                return
                    return
            except RpcFailure as failure:
                failures += 1
                if failure.code not in _PASSING or failures > TRIES:
                    raise
                await asyncio.sleep(PAUSE)

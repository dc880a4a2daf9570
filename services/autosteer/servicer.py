"""AutoSteerService over gRPC: each method decodes, makes one call, encodes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

from hearth.v1 import autosteer_service_pb2 as pb
from hearth.v1 import autosteer_service_pb2_grpc as rpc
from services.autosteer.creation import Creation
from services.autosteer.events import EventLog
from services.autosteer.ledger import Ledger
from services.autosteer.suggesting import Suggesting
from services.autosteer.wire import decode, encode, events
from services.rpc import fields
from services.rpc.calls import Context, owner, remaining


class AutoSteerServicer(rpc.AutoSteerServiceServicer):
    """Answers for the owner on whose behalf a call is made."""

    def __init__(self, creation: Creation, ledger: Ledger, log: EventLog, suggesting: Suggesting) -> None:
        self._creation, self._ledger, self._log, self._suggesting = creation, ledger, log, suggesting

    async def CreateAutoSteerJob(
        self, request: pb.CreateAutoSteerJobRequest, context: Context
    ) -> pb.CreateAutoSteerJobResponse:
        """See the proto."""
        made = await self._creation.create(owner(context), decode.created(request))
        return pb.CreateAutoSteerJobResponse(job=encode.job(made))

    async def GetAutoSteerJob(
        self, request: pb.GetAutoSteerJobRequest, context: Context
    ) -> pb.GetAutoSteerJobResponse:
        """See the proto."""
        found = await self._ledger.get(owner(context), fields.uuid(request.id, "id"))
        return pb.GetAutoSteerJobResponse(job=encode.job(found))

    async def ListAutoSteerJobs(
        self, request: pb.ListAutoSteerJobsRequest, context: Context
    ) -> pb.ListAutoSteerJobsResponse:
        """See the proto."""
        size = fields.page_size(request.page_size, decode.MAX_PAGE)
        found, following = await self._ledger.page(owner(context), size, request.page_token)
        jobs = map(partial(encode.job, brief=True), found)
        return pb.ListAutoSteerJobsResponse(jobs=jobs, next_page_token=following)

    async def CancelAutoSteerJob(
        self, request: pb.CancelAutoSteerJobRequest, context: Context
    ) -> pb.CancelAutoSteerJobResponse:
        """See the proto."""
        now = await self._ledger.cancel(owner(context), fields.uuid(request.id, "id"))
        return pb.CancelAutoSteerJobResponse(job=encode.job(now))

    async def WatchAutoSteerJob(
        self, request: pb.WatchAutoSteerJobRequest, context: Context
    ) -> AsyncIterator[pb.WatchAutoSteerJobResponse]:
        """See the proto."""
        job_id, after = fields.uuid(request.id, "id"), decode.sequence(request.after_sequence)
        async for logged in self._log.follow(owner(context), job_id, after):
            yield events.event(logged)

    async def DraftContrast(
        self, request: pb.DraftContrastRequest, context: Context
    ) -> pb.DraftContrastResponse:
        """See the proto."""
        return encode.contrast(await self._suggesting.contrast(owner(context), *decode.drafted(request)))

    async def SuggestCondition(
        self, request: pb.SuggestConditionRequest, context: Context
    ) -> pb.SuggestConditionResponse:
        """See the proto."""
        spec = decode.suggested(request)
        found = await self._suggesting.condition(owner(context), spec, remaining(context))
        return encode.condition(found)

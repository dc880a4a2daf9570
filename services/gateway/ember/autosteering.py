"""Edits in one answer: a quick job, awaited as long as Ember's SDK waits."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import Any

from starlette.types import Receive

from services.gateway.callers import Caller
from services.gateway.ember.features import by_index
from services.gateway.ember.wire import autosteer as wire
from services.gateway.gateway import Gateway
from services.gateway.models import ServedModel
from services.gateway.presence import ClientGone, while_present
from services.rpc.channel import rpc_failures

ANSWER_SECONDS = 56.0
"""A job that has not ended by then is cancelled, and the best that it had is the answer: the SDK waits 60 s."""


async def auto_edits(
    gateway: Gateway,
    caller: Caller,
    model: ServedModel,
    behavior: str,
    receive: Receive,
    seconds: float,
) -> dict[str, Any]:
    """The best edits that a job finds in `seconds`, and its verdict. The job ends with the request, however that ends.

    `receive` is the request's, which tells when the client goes. Raises RpcFailure, JobFailed, JobsBefore.
    """
    autosteer, metadata = gateway.services.autosteer, caller.metadata
    with rpc_failures():
        created = await autosteer.CreateAutoSteerJob(
            wire.job(behavior, model, str(uuid.uuid4())), metadata=metadata
        )
    try:
        with suppress(ClientGone, TimeoutError):
            await while_present(receive, _watched(gateway, caller, created.job.id), seconds)
    finally:
        with rpc_failures():  # a job that has ended stays as it is
            now = await autosteer.CancelAutoSteerJob(wire.cancelled(created.job.id), metadata=metadata)
    cards = await by_index(gateway, caller, model, wire.edited_features(now.job))
    return wire.found_edits(now.job, cards)


async def _watched(gateway: Gateway, caller: Caller, job_id: str) -> None:
    with rpc_failures():
        async for _ in gateway.services.autosteer.WatchAutoSteerJob(
            wire.watched(job_id), metadata=caller.metadata
        ):
            pass

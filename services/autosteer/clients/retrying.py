"""Calls that are tried again where the other side is away for a moment, and what they raise where it stays away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc

from services.errors import DependencyUnavailable, HearthError, InvalidField, ModelNotServed, Reason
from services.rpc.channel import RpcFailure, rpc_failures

T = TypeVar("T")
TRIES = 5
FIRST_WAIT, LONGEST_WAIT = 0.25, 5.0
"""Seconds before a call is tried again: doubled each time, up to the longest."""
_PASSING = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})
_REFUSED = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE})
_AWAY = _PASSING | {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN}


async def tried(what: str, call: Callable[[], Awaitable[T]]) -> T:
    """What a call answers. `what` names the service.

    Every call of auto-steer may be repeated: a generation has its seed. Raises DependencyUnavailable where the service
    does not answer in five tries, else what the service says is wrong.
    """
    for attempt in range(TRIES):
        try:
            with rpc_failures():
                return await call()
        except RpcFailure as failure:
            if failure.code not in _PASSING or attempt == TRIES - 1:
                raise _error(what, failure) from failure
            usual = min(LONGEST_WAIT, FIRST_WAIT * 2**attempt)
            await asyncio.sleep(max(usual, min(LONGEST_WAIT, failure.retry_after or 0.0)))
    raise AssertionError("the last try returns or raises")


def _error(what: str, failure: RpcFailure) -> HearthError:
    """The failure in this process's own terms: its caller must see which of its fields is at fault, not ours."""
    if failure.code in _AWAY:
        return DependencyUnavailable(what, failure.message, failure.retry_after or 2.0)
    if failure.reason is Reason.MODEL_NOT_SERVED:
        return _Unserved(failure.message)
    field = failure.violations[0].field if failure.violations else ""
    if failure.reason is Reason.SAE_NOT_SERVED:
        return InvalidField("spec.sae", failure.message)
    if failure.code is grpc.StatusCode.NOT_FOUND:  # features that are not imported yet, as after a restore
        return DependencyUnavailable(what, failure.message)
    if failure.code in _REFUSED:
        known = field.partition("[")[0]  # its texts are not ours one by one: the message says which it was
        ours = f"spec.{known}" if known in ("positive", "negative") else "spec"
        return InvalidField(ours, f"{what} refuses {field or 'a request'}: {failure.message}")
    return HearthError(f"{what} failed: {failure.message}")


class _Unserved(ModelNotServed):
    """The model is not served by inference."""

    def __init__(self, message: str) -> None:
        HearthError.__init__(self, message, field="spec.model")

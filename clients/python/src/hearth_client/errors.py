"""What goes wrong: one exception for each kind of gRPC status, with what the server says of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message

from hearth_client.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from hearth_client.rpc.status_pb2 import Status

_DETAILS_KEY = "grpc-status-details-bin"
_REQUEST_ID_KEY = "x-request-id"
_DOMAIN = "hearth"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A field of the request that is at fault, and how."""

    field: str
    problem: str


class HearthError(Exception):
    """A call that failed. Base of all errors of this package."""

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: str = "",
        violations: tuple[FieldViolation, ...] = (),
        retry_after: float | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message
        self.reason = reason
        """A name of `hearth.v1.ErrorReason` without its prefix, such as QUEUE_FULL; empty where no server said it."""
        self.violations = violations
        self.retry_after = retry_after
        """Seconds after which to come back; None where the server names no time."""
        self.request_id = request_id
        """By which the server's log has the call."""

    @property
    def field(self) -> str:
        """The first field at fault, such as `steering.edits[2].nudge`; empty if none is."""
        return self.violations[0].field if self.violations else ""


class InvalidRequest(HearthError):
    """INVALID_ARGUMENT, OUT_OF_RANGE: something in the request is not allowed; `field` names it."""


class Unauthenticated(HearthError):
    """UNAUTHENTICATED: no valid key."""


class Forbidden(HearthError):
    """PERMISSION_DENIED: not with this key."""


class NotFound(HearthError):
    """NOT_FOUND: no such model, SAE, feature, variant or job."""


class Conflict(HearthError):
    """ABORTED, ALREADY_EXISTS, FAILED_PRECONDITION: the resource changed meanwhile, or is another one."""


class RateLimited(HearthError):
    """RESOURCE_EXHAUSTED: too much waits, or the quota is used up; `retry_after` says when to come back."""


class Unavailable(HearthError):
    """UNAVAILABLE: the server cannot be reached, still loads, or lacks something it needs."""


class DeadlineExceeded(HearthError):
    """DEADLINE_EXCEEDED: the answer did not come in time."""


class Cancelled(HearthError):
    """CANCELLED: the call was cancelled."""


class Unsupported(HearthError):
    """UNIMPLEMENTED: the server, or the engine behind it, cannot do this."""


class ServerError(HearthError):
    """INTERNAL and all else: the server's fault; its log has the request id."""


_KINDS: dict[grpc.StatusCode, type[HearthError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequest,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: Forbidden,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ABORTED: Conflict,
    grpc.StatusCode.ALREADY_EXISTS: Conflict,
    grpc.StatusCode.FAILED_PRECONDITION: Conflict,
    grpc.StatusCode.RESOURCE_EXHAUSTED: RateLimited,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.CANCELLED: Cancelled,
    grpc.StatusCode.UNIMPLEMENTED: Unsupported,
}


class InferenceAborted(Exception):
    """An `abort_when` of the variant held."""

    def __init__(self, message: str, response_so_far: str) -> None:
        super().__init__(message)
        self.response_so_far = response_so_far


def error_of(error: grpc.RpcError) -> HearthError:
    """The error of this package for one of grpc or grpc.aio; details that cannot be read are left out."""
    status: Any = error  # what grpc raises is a call, or has a call's methods
    metadata = {str(key): value for key, value in status.trailing_metadata() or ()}
    details = _details(metadata.get(_DETAILS_KEY, b""))
    info, request, retry = ErrorInfo(), BadRequest(), RetryInfo()
    has_info, _, has_retry = (_unpack(details, each) for each in (info, request, retry))
    code: grpc.StatusCode = status.code()
    return _KINDS.get(code, ServerError)(
        code,
        status.details() or "",
        reason=info.reason if has_info and info.domain == _DOMAIN else "",
        violations=tuple(FieldViolation(each.field, each.description) for each in request.field_violations),
        retry_after=retry.retry_delay.ToNanoseconds() / 1e9 if has_retry else None,
        request_id=info.metadata.get("request_id", "") or str(metadata.get(_REQUEST_ID_KEY, "")),
    )


def _details(packed: str | bytes) -> Iterable[Any]:
    try:
        return Status.FromString(packed).details if isinstance(packed, bytes) else ()
    except DecodeError:
        return ()


def _unpack(details: Iterable[Any], into: Message) -> bool:
    """Whether one of the details is of that type; it is then in `into`."""
    try:
        return any(detail.Unpack(into) for detail in details)
    except DecodeError:
        return False

"""From what went wrong to a gRPC status with google.rpc details, and back on the client's side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2, message
from google.rpc import error_details_pb2, status_pb2

from services.errors import HearthError, Reason

DOMAIN = "hearth"
"""The domain of every ErrorInfo."""
DETAILS_KEY = "grpc-status-details-bin"
"""The trailing metadata in which gRPC carries a google.rpc.Status."""
REQUEST_ID_KEY = "x-request-id"
"""The metadata in which the request id travels, both ways."""
MAX_MESSAGE_BYTES = 1000
"""Longer messages are cut: message and details together must fit the 8 KiB that clients allow for metadata."""

STATUS_CODES: dict[Reason, grpc.StatusCode] = {
    Reason.INVALID_FIELD: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.MODEL_NOT_SERVED: grpc.StatusCode.NOT_FOUND,
    Reason.SAE_NOT_SERVED: grpc.StatusCode.NOT_FOUND,
    Reason.FEATURE_OUT_OF_RANGE: grpc.StatusCode.OUT_OF_RANGE,
    Reason.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.PROMPT_TOO_LONG: grpc.StatusCode.OUT_OF_RANGE,
    Reason.ETAG_MISMATCH: grpc.StatusCode.ABORTED,
    Reason.QUEUE_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.QUOTA_EXCEEDED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.MODEL_LOADING: grpc.StatusCode.UNAVAILABLE,
    Reason.DEADLINE_UNREACHABLE: grpc.StatusCode.DEADLINE_EXCEEDED,
    Reason.ALREADY_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    Reason.DEPENDENCY_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Reason.IMPORT_INCOMPLETE: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.ENGINE_UNSUPPORTED: grpc.StatusCode.UNIMPLEMENTED,
    Reason.KEY_REFUSED: grpc.StatusCode.UNAUTHENTICATED,
    Reason.NOT_ALLOWED: grpc.StatusCode.PERMISSION_DENIED,
    Reason.INTERNAL: grpc.StatusCode.INTERNAL,
}
"""The one table from an error's reason to its status; error.proto documents it."""


def status_of(error: HearthError, request_id: str) -> status_pb2.Status:
    """The status of an error: ErrorInfo always, BadRequest where a field is at fault, RetryInfo where waiting helps."""
    text = _cut(error.message)
    details: list[message.Message] = [
        error_details_pb2.ErrorInfo(
            reason=error.reason.value, domain=DOMAIN, metadata={"request_id": request_id}
        )
    ]
    if error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=_cut(error.field), description=text)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(round(error.retry_after * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    code: int = STATUS_CODES[error.reason].value[0]
    return status_pb2.Status(code=code, message=text, details=map(_packed, details))


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A field of the request that is at fault, and how."""

    field: str
    problem: str


class RpcFailure(Exception):
    """A call that ended in a status other than OK, its google.rpc details decoded.

    `reason` is the server's own, None where the status does not come from Hearth (the server cannot be reached, the
    call was cancelled). `retry_after` is in seconds, None where the server names no time.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: Reason | None = None,
        violations: tuple[FieldViolation, ...] = (),
        retry_after: float | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message
        self.reason = reason
        self.violations = violations
        self.retry_after = retry_after
        self.request_id = request_id

    @property
    def field(self) -> str:
        """The first field at fault; empty if none is."""
        return self.violations[0].field if self.violations else ""

    @classmethod
    def of(cls, error: grpc.RpcError) -> RpcFailure:
        """The failure that an error of grpc or grpc.aio stands for; details that cannot be read are left out."""
        metadata = {str(key): value for key, value in _trailing_metadata(error)}
        details = _details(metadata.get(DETAILS_KEY, b""))
        info, request, retry = (
            error_details_pb2.ErrorInfo(),
            error_details_pb2.BadRequest(),
            error_details_pb2.RetryInfo(),
        )
        has_info, _, has_retry = _unpack(details, info), _unpack(details, request), _unpack(details, retry)
        ours = has_info and info.domain == DOMAIN
        return cls(
            error.code(),
            error.details() or "",
            reason=Reason(info.reason) if ours and info.reason in list(Reason) else None,
            violations=tuple(
                FieldViolation(each.field, each.description) for each in request.field_violations
            ),
            retry_after=retry.retry_delay.ToNanoseconds() / 1e9 if has_retry else None,
            request_id=info.metadata.get("request_id", "") or str(metadata.get(REQUEST_ID_KEY, "")),
        )


@contextmanager
def rpc_failures() -> Iterator[None]:
    """Calls made within raise RpcFailure instead of grpc's own error; works around awaits and streams too."""
    try:
        yield
    except grpc.RpcError as error:
        raise RpcFailure.of(error) from error


def _trailing_metadata(error: grpc.RpcError) -> Iterable[tuple[str, str | bytes]]:
    pairs: Any = error.trailing_metadata()  # None, or pairs of a kind that differs between grpc and grpc.aio
    return pairs or ()


def _details(packed: str | bytes) -> Sequence[any_pb2.Any]:
    try:
        details: Sequence[any_pb2.Any] = status_pb2.Status.FromString(packed).details
        return details
    except (message.DecodeError, TypeError):
        return ()


def _unpack(details: Iterable[any_pb2.Any], into: message.Message) -> bool:
    """Whether one of the details is of that type; it is then in `into`."""
    try:
        return any(detail.Unpack(into) for detail in details)
    except message.DecodeError:
        return False


def _packed(detail: message.Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


def _cut(text: str) -> str:
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= MAX_MESSAGE_BYTES:
        return encoded.decode("utf-8")
    return encoded[: MAX_MESSAGE_BYTES - 3].decode("utf-8", "ignore") + "..."

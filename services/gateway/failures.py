"""From what went wrong to an HTTP status and a body, in the shape of the contract that the path belongs to."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from services.errors import HearthError, Reason
from services.keys.gatekeeper import KeyRefused
from services.rpc.logs import REQUEST_ID, structured
from services.rpc.status import STATUS_CODES, FieldViolation, RpcFailure

log = logging.getLogger("hearth.gateway")

EMBER = "/api/inference/v1/"
OURS = "/hearth/v1/"
OPENAI = ("/v1/", f"{EMBER}chat/completions", f"{EMBER}completions", f"{EMBER}models")

HTTP_STATUS: Mapping[str, int] = {
    "INVALID_ARGUMENT": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "FAILED_PRECONDITION": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 503,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""By gRPC status; anything else is 500."""
_GRPC_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    413: "OUT_OF_RANGE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_AWAY = 2.0
"""Seconds after which to try again what does not answer."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong, as a caller may see it."""

    http: int
    status: str
    """The name of the gRPC status."""
    message: str
    reason: str = ""
    """A Reason's name, empty where none fits."""
    violations: tuple[FieldViolation, ...] = ()
    retry_after: float | None = None
    """Seconds; None where trying again does not help."""

    @property
    def field(self) -> str:
        """The first field at fault; empty if none is."""
        return self.violations[0].field if self.violations else ""

    @property
    def headers(self) -> dict[str, str]:
        """Of the answer."""
        headers = {"retry-after": str(max(1, math.ceil(self.retry_after)))} if self.retry_after else {}
        return headers | ({"www-authenticate": "Bearer"} if self.http == 401 else {})


def problem_of(error: BaseException) -> Problem:
    """The problem that an error is to callers. What is internal stays inside; `told` logs it."""
    match error:
        case RpcFailure():
            return _of_rpc(error)
        case HearthError():
            return _of_domain(error)
        case KeyRefused():
            return Problem(
                401,
                "UNAUTHENTICATED",
                "no valid API key: send one as `Authorization: Bearer KEY`",
                "KEY_REFUSED",
            )
        case RequestValidationError():
            return _of_validation(error)
        case HTTPException():
            status = _GRPC_STATUS.get(error.status_code, "UNKNOWN")
            return Problem(error.status_code, status, str(error.detail))
        case TimeoutError():
            return Problem(504, "DEADLINE_EXCEEDED", "the request took too long", "DEADLINE_UNREACHABLE")
        case _:
            return _internal()


def body_of(problem: Problem, path: str) -> dict[str, Any]:
    """The body of an error in the shape of the contract that a path belongs to."""
    if path.startswith(OPENAI):
        return _openai(problem)
    if path.startswith(EMBER):
        return {"detail": problem.message, "field": problem.field or None}
    return _ours(problem)


def response_of(problem: Problem, path: str) -> JSONResponse:
    """The whole answer to a request that failed."""
    status = problem.http
    if status == 409 and path.startswith(EMBER):
        status = 400  # the only one of its kind that Ember's SDK knows
    return JSONResponse(body_of(problem, path), status, problem.headers)


def install(app: FastAPI) -> None:
    """Makes every error that a route raises an answer."""

    async def answer(request: Request, error: Exception) -> Response:
        return response_of(await told(error, request.app), request.url.path)

    for kind in (RpcFailure, HearthError, KeyRefused, RequestValidationError, HTTPException, TimeoutError):
        app.add_exception_handler(kind, answer)


async def told(error: BaseException, app: FastAPI) -> Problem:
    """The problem of an error, and a line in the log about what is our fault: with a traceback where nobody foresaw it.

    A traceback holds code, never values. A service that cannot be reached is named, by asking all of them.
    """
    problem = problem_of(error)
    if problem.http == 500:
        log.error("a request failed", exc_info=error)
    elif problem.http > 500:
        if problem.message == _UNREACHED[503]:
            problem = await _named(problem, app)
        log.warning(
            "a request was not answered", extra=structured(status=problem.status, problem=problem.message)
        )
    return problem


async def _named(problem: Problem, app: FastAPI) -> Problem:
    serving = await app.state.gateway.services.serving()
    away = " and ".join(name for name, serves in serving.items() if not serves)
    if not away:
        return problem
    return replace(problem, message=f"{away} cannot be reached at the moment; try again in a few seconds")


def _of_rpc(failure: RpcFailure) -> Problem:
    status = failure.code.name
    if status not in HTTP_STATUS or status == "UNAUTHENTICATED":  # then it is the gateway that is not trusted
        return _internal()
    http, retry_after = HTTP_STATUS[status], failure.retry_after
    if http in (429, 503) and retry_after is None:
        retry_after = _AWAY
    if failure.reason is None and http >= 500:  # gRPC's own words name addresses
        return Problem(http, status, _UNREACHED[http], "", (), retry_after)
    reason = failure.reason.value if failure.reason else ""
    return Problem(http, status, failure.message, reason, failure.violations, retry_after)


_UNREACHED = {
    501: "a service that this request needs is of another version than the gateway",
    503: "a service that this request needs does not answer at the moment; try again in a few seconds",
    504: "the answer took too long",
}


def _of_domain(error: HearthError) -> Problem:
    status = STATUS_CODES[error.reason].name
    if status not in HTTP_STATUS:
        return _internal()
    violations = (FieldViolation(error.field, error.message),) if error.field else ()
    return Problem(
        HTTP_STATUS[status], status, error.message, error.reason.value, violations, error.retry_after
    )


def _of_validation(error: RequestValidationError) -> Problem:
    found = []
    for each in error.errors():
        if each["type"] == "json_invalid":
            found.append(FieldViolation("", "the body is not JSON"))
        else:
            found.append(FieldViolation(_path(each["loc"]), str(each["msg"])))
    first = found[0]
    message = f"{first.field}: {first.problem}" if first.field else first.problem
    named = tuple(each for each in found if each.field)
    return Problem(400, "INVALID_ARGUMENT", message, Reason.INVALID_FIELD.value, named)


def _path(location: tuple[int | str, ...]) -> str:
    """`messages[0].content` for ("body", "messages", 0, "content")."""
    path = ""
    for part in location[1:]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def _internal() -> Problem:
    return Problem(
        500,
        "INTERNAL",
        f"internal error; the gateway's log has it under request id {REQUEST_ID.get()}",
        Reason.INTERNAL.value,
    )


_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_OPENAI_CODES = {
    "KEY_REFUSED": "invalid_api_key",
    "MODEL_NOT_SERVED": "model_not_found",
    "PROMPT_TOO_LONG": "context_length_exceeded",
    "QUOTA_EXCEEDED": "rate_limit_exceeded",
    "QUEUE_FULL": "rate_limit_exceeded",
}


def _openai(problem: Problem) -> dict[str, Any]:
    kind = "server_error" if problem.http >= 500 else "invalid_request_error"
    code = _OPENAI_CODES.get(problem.reason) or problem.reason.lower() or None
    return {
        "error": {
            "message": problem.message,
            "type": _OPENAI_TYPES.get(problem.http, kind),
            "param": problem.field or None,
            "code": code,
        }
    }


def _ours(problem: Problem) -> dict[str, Any]:
    error: dict[str, Any] = {
        "code": problem.http,
        "status": problem.status,
        "reason": problem.reason,
        "message": problem.message,
        "field_violations": [
            {"field": each.field, "description": each.problem} for each in problem.violations
        ],
    }
    if problem.retry_after is not None:
        error["retry_after_seconds"] = problem.retry_after
    return {"error": error}

"""One call: who asked, for how long it may run, and the one line that the log has of it."""

from __future__ import annotations

import hashlib
import logging
import re
import time
import uuid
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import grpc

from services.errors import InvalidField, Reason
from services.rpc.logs import REQUEST_ID, begin_tally, structured
from services.rpc.status import REQUEST_ID_KEY
from services.rpc.traces import TRACEPARENT, TRACESTATE

log = logging.getLogger("hearth.rpc")

Context = grpc.aio.ServicerContext[Any, Any]
OWNER_KEY = "x-hearth-owner"
"""Metadata that names on whose behalf a call is made: owners are served in turn, and see their own variants alone."""
MAX_OWNER = 200
ADMITTED: ContextVar[str | None] = ContextVar("admitted", default=None)
"""On whose behalf the call that runs is made, where that was proved (access.py); None where its word is taken."""
AUTHORIZATION_KEY = "authorization"
"""Metadata that carries a caller's key, behind BEARER."""
BEARER = "Bearer "
_DECENT_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long calls may run, in seconds. A caller's own deadline counts where it is earlier."""

    default: float = 600.0
    """The limit of a method that has none of its own."""
    by_method: Mapping[str, float] = field(default_factory=dict)
    """Limits by full method name, `/hearth.v1.InferenceService/Generate`."""

    def of(self, method: str) -> float:
        """The limit of a method."""
        return self.by_method.get(method, self.default)


@dataclass(slots=True, eq=False)
class Call:
    """One call that runs."""

    method: str
    request_id: str
    model: str
    context: Context
    started: float = field(default_factory=time.perf_counter)
    greeted: bool = False
    """Whether the initial metadata is sent. It is sent late: a call that has not begun to answer can be retried."""
    stopped: bool = False
    """Whether the server ended it."""
    code: str = "CANCELLED"
    """The name of the status that it ended with."""
    reason: Reason | None = None
    """Why it failed, if it did, in Hearth's own words."""
    tally: dict[str, int] = field(default_factory=begin_tally)
    """Numbers for its line, such as tokens."""

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.perf_counter() - self.started

    async def greet(self) -> None:
        """Sends the initial metadata once."""
        if not self.greeted:
            self.greeted = True
            await self.context.send_initial_metadata(((REQUEST_ID_KEY, self.request_id),))

    def log(self, code: str, level: int = logging.INFO, error: BaseException | None = None) -> None:
        """Writes the call's one line, at its end."""
        self.code = code
        fields: dict[str, object] = {
            "method": self.method,
            "code": code,
            "ms": round(self.seconds * 1e3, 1),
            "request_id": self.request_id,
        }
        if self.model:
            fields["model"] = self.model
        if name := _owner(self.context):
            fields["owner"] = digest_of(name)
        log.log(level, "call", extra=structured(**fields, **self.tally), exc_info=error)


def begin(method: str, request: Any, context: Context) -> Call:
    """The call that an interceptor has before it; lines logged from here on carry its request id."""
    model = getattr(request, "model", "")
    given = metadata_of(context, REQUEST_ID_KEY)
    call = Call(method, request_id(given), model[:200] if isinstance(model, str) else "", context)
    REQUEST_ID.set(call.request_id)  # each call has its own task, so this ends with it
    return call


def owner(context: Context) -> str:
    """On whose behalf a call is made, as it says itself unless access.py knows better; empty where it does not say.

    Raises InvalidField where the name is too long: cut, two of them could be the same.
    """
    named = _owner(context)
    if len(named) > MAX_OWNER:
        raise InvalidField(OWNER_KEY, f"has {len(named)} characters; allowed: at most {MAX_OWNER}")
    return named


def _owner(context: Context) -> str:
    admitted = ADMITTED.get()
    return metadata_of(context, OWNER_KEY) if admitted is None else admitted


def digest_of(owner: str) -> str:
    """How an owner is named in the log: always the same, and nobody's name."""
    return hashlib.sha256(owner.encode("utf-8", "replace")).hexdigest()[:12]


def carried_trace(context: Context) -> dict[str, str]:
    """The headers of the caller's trace, if it has one."""
    return {name: value for name in (TRACEPARENT, TRACESTATE) if (value := metadata_of(context, name))}


def remaining(context: Context) -> float | None:
    """Seconds to the caller's deadline, 0 once it has passed; None without one, which grpc's own types do not say."""
    return context.time_remaining()


def request_id(given: str) -> str:
    """The caller's id if it is a decent one, so that one id can be followed through the mesh; else a new one."""
    return given if _DECENT_ID.fullmatch(given) else str(uuid.uuid4())


def metadata_of(context: Context, name: str) -> str:
    """A caller's metadata of that name; empty where there is none."""
    pairs = context.invocation_metadata() or ()
    return next((value for key, value in pairs if key == name and isinstance(value, str)), "")

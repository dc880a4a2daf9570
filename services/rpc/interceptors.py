"""What happens around every call a server answers: request id, deadline, log line, errors to status, drain.

Servicer methods are coroutines, or return async iterators where they stream; they raise the errors of services.errors
and never touch the context. Services of grpc itself (health, reflection) pass through untouched.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from services.errors import DeadlineUnreachable, HearthError, InvalidField, ModelLoading, Reason
from services.rpc import metrics, traces
from services.rpc.calls import Call, Context, Deadlines, begin, carried_trace, remaining
from services.rpc.logs import structured
from services.rpc.status import DETAILS_KEY, REQUEST_ID_KEY, STATUS_CODES, status_of

log = logging.getLogger("hearth.rpc")

DRAIN_RETRY_AFTER = 2.0
"""Seconds after which a caller that a draining server refused should try again."""

if TYPE_CHECKING:
    _Handler: TypeAlias = grpc.RpcMethodHandler[Any, Any]  # not generic where it runs


@dataclass(frozen=True, slots=True)
class Malformed:
    """Stands for a request whose bytes are no message of its type."""

    problem: str


class _PeerGoneError(Exception):
    """An answer could not be sent, because nobody is there to take it."""


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every handler; server.py drains through it."""

    def __init__(self, deadlines: Deadlines | None = None) -> None:
        self._deadlines = deadlines or Deadlines()
        self._wrapped: dict[str, tuple[_Handler, _Handler]] = {}
        self._running: dict[asyncio.Task[Any], Call] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._refusing = False

    @property
    def running(self) -> int:
        """The number of calls that run."""
        return len(self._running)

    def refuse(self) -> None:
        """Refuses new calls from now on, as UNAVAILABLE."""
        self._refusing = True

    async def idle(self) -> None:
        """Returns when no call runs."""
        await self._idle.wait()

    def stop_running(self) -> None:
        """Ends the calls that run, as UNAVAILABLE."""
        for task, call in self._running.items():
            call.stopped = True
            task.cancel()

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """The wrapped handler of a method; None where there is no such method, which gRPC answers UNIMPLEMENTED."""
        method: str = handler_call_details.method
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_streaming or method.startswith("/grpc."):
            return handler  # the API has no client streams; those of grpc (reflection) are its own affair
        known = self._wrapped.get(method)
        if known is None or known[0] is not handler:
            known = self._wrapped[method] = (handler, self._wrap(method, handler))
        return known[1]

    def _wrap(self, method: str, handler: _Handler) -> _Handler:
        serialize: Callable[[Any], bytes] = handler.response_serializer or bytes
        make: Callable[..., _Handler]
        if handler.unary_stream is not None:
            respond = _stream(handler.unary_stream, serialize)
            make = grpc.unary_stream_rpc_method_handler
        else:
            assert handler.unary_unary is not None
            respond = _unary(handler.unary_unary, serialize)
            make = grpc.unary_unary_rpc_method_handler

        async def behavior(request: Any, context: Context) -> Any:
            call = begin(method, request, context)
            with _observed(call):
                return await self._answer(call, request, respond)

        return make(behavior, _guarded(handler.request_deserializer))

    async def _answer(self, call: Call, request: Any, respond: Callable[[Call, Any], Awaitable[Any]]) -> Any:
        """Runs one call to its end; what it raises becomes a status, but for cancellation, which passes through."""
        limit = self._deadlines.of(call.method)
        left = remaining(call.context)
        timeout = asyncio.timeout(limit if left is None else min(limit, left))
        try:
            self._admit(request)
            with self._tracked(call):
                async with timeout:
                    response = await respond(call, request)
            call.log("OK")
            return response
        except asyncio.CancelledError as cancelled:
            if not call.stopped:
                expired = left is not None and remaining(call.context) == 0
                call.log("DEADLINE_EXCEEDED" if expired else "CANCELLED")
                raise
            _uncancel()
            return await _fail(call, _shutting_down(), cancelled)
        except _PeerGoneError:
            call.log("CANCELLED")
        except grpc.aio.AbortError:
            call.log("ABORTED")
            raise
        except NotImplementedError:
            call.log("UNIMPLEMENTED")
            await call.context.abort(grpc.StatusCode.UNIMPLEMENTED, "this method is not implemented")
        except Exception as error:
            return await _fail(call, _for_callers(error, call, timeout), error)

    def _admit(self, request: Any) -> None:
        if self._refusing:
            raise _shutting_down()
        if isinstance(request, Malformed):
            raise InvalidField("request", request.problem)

    @contextmanager
    def _tracked(self, call: Call) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None
        self._running[task] = call
        self._idle.clear()
        try:
            yield
        finally:
            del self._running[task]
            if not self._running:
                self._idle.set()


@contextmanager
def _observed(call: Call) -> Iterator[None]:
    """Around a whole call: its span, and what metrics count of it."""
    attributes = {**traces.rpc_attributes(call.method), "hearth.request_id": call.request_id}
    if call.model:
        attributes["hearth.model"] = call.model
    kind, parent = traces.Kind.SERVER, carried_trace(call.context)
    with traces.span(call.method[1:], kind, parent, attributes) as span, metrics.call_running():
        try:
            yield
        finally:
            traces.ended(span, call.code)
            metrics.call_ended(call.method, call.code, call.seconds, call.reason)


# Answers are serialised here, not by gRPC, so that one that cannot be is an internal error like any other.
def _unary(
    handler: Callable[..., Any], serialize: Callable[[Any], bytes]
) -> Callable[[Call, Any], Awaitable[bytes | None]]:
    async def respond(call: Call, request: Any) -> bytes:
        response = serialize(await handler(request, call.context))
        await call.greet()
        return response

    return respond


def _stream(
    handler: Callable[..., Any], serialize: Callable[[Any], bytes]
) -> Callable[[Call, Any], Awaitable[bytes | None]]:
    async def respond(call: Call, request: Any) -> None:
        responses: AsyncIterator[Any] = aiter(handler(request, call.context))
        try:
            async for response in responses:
                message = serialize(response)
                try:
                    await call.greet()
                    await call.context.write(message)
                except grpc.aio.BaseError as error:
                    raise _PeerGoneError from error
        finally:
            if inspect.isasyncgen(responses):
                await responses.aclose()  # now, not at the next collection: it may hold a slot of the engine

    return respond


def _guarded(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """The deserializer, but that bytes it cannot read reach `_answer`; gRPC itself would answer UNKNOWN."""
    if deserialize is None:
        return None

    def guarded(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            return Malformed("not a message of this method's type, not UTF-8, or nested over 100 deep")

    return guarded


def _for_callers(error: Exception, call: Call, timeout: asyncio.Timeout) -> HearthError:
    """The error that the caller may see."""
    if isinstance(error, HearthError):
        return error
    if isinstance(error, TimeoutError) and timeout.expired():
        seconds = time.perf_counter() - call.started
        return DeadlineUnreachable(f"the call was ended at its deadline, after {seconds:.1f} s")
    return HearthError(f"internal error; the server's log has it under request id {call.request_id}")


async def _fail(call: Call, error: HearthError, cause: BaseException) -> None:
    code, call.reason = STATUS_CODES[error.reason], error.reason
    if error.reason is Reason.INTERNAL:
        call.log(code.name, logging.ERROR, cause)
    else:
        call.log(code.name)
    status = status_of(error, call.request_id)
    trailing = ((REQUEST_ID_KEY, call.request_id), (DETAILS_KEY, status.SerializeToString()))
    try:
        await call.context.abort(code, status.message, trailing)
    except grpc.aio.AbortError:
        raise
    except grpc.aio.BaseError:
        log.debug("the caller left before its error", extra=structured(method=call.method))


def _shutting_down() -> ModelLoading:
    return ModelLoading("the server is shutting down; call again", retry_after=DRAIN_RETRY_AFTER)


def _uncancel() -> None:
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()

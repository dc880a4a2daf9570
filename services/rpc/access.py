"""Who may call a server, and on whose behalf: an interceptor that asks an authenticator about every call."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import grpc

from services.rpc.calls import ADMITTED, AUTHORIZATION_KEY, BEARER, Context, metadata_of, owner

_CERTIFIED = ("x509_subject_alternative_name", "x509_common_name")
_HERE = ("ipv4:127.", "ipv6:[::1]", "ipv6:%5B::1%5D", "unix:")

if TYPE_CHECKING:
    _Handler: TypeAlias = grpc.RpcMethodHandler[Any, Any]  # not generic where it runs


@dataclass(frozen=True, slots=True)
class Caller:
    """What a call says of who makes it, and what its connection proves."""

    method: str
    """`/hearth.v1.InferenceService/Generate`."""
    key: str
    """The bearer key; empty without one."""
    owner: str
    """On whose behalf it says that it is made; empty where it does not say. Proves nothing."""
    names: frozenset[str]
    """Of the certificate that the other side showed; none without one."""
    from_here: bool
    """Whether the other side is on this machine: a caller, or a proxy."""


class Admission(Protocol):
    """A call that may be made."""

    @property
    def owner(self) -> str:
        """On whose behalf it is made."""

    def see(self, answer: Any) -> None:
        """Called with every answer."""

    async def settle(self) -> None:
        """Called when it has been answered, wholly or in part."""


class Authenticator(Protocol):
    """Knows who may call."""

    async def admit(self, caller: Caller, request: Any) -> Admission:
        """Raises a HearthError where the call may not be made."""


class AccessInterceptor(grpc.aio.ServerInterceptor):
    """Stands behind CallInterceptor, which turns what it raises into a status. Health and reflection are for all."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        self._wrapped: dict[str, tuple[_Handler, _Handler]] = {}

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """The wrapped handler of a method; None where there is no such method."""
        method: str = handler_call_details.method
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_streaming or method.startswith("/grpc."):
            return handler
        known = self._wrapped.get(method)
        if known is None or known[0] is not handler:
            known = self._wrapped[method] = (handler, self._wrap(method, handler))
        return known[1]

    def _wrap(self, method: str, handler: _Handler) -> _Handler:
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(method, handler.unary_stream),
                handler.request_deserializer,
                handler.response_serializer,
            )
        assert handler.unary_unary is not None
        return grpc.unary_unary_rpc_method_handler(
            self._unary(method, handler.unary_unary),
            handler.request_deserializer,
            handler.response_serializer,
        )

    def _unary(self, method: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        async def behavior(request: Any, context: Context) -> Any:
            admission = await self._admit(method, request, context)
            answer = await handler(request, context)
            admission.see(answer)
            await admission.settle()
            return answer

        return behavior

    def _stream(self, method: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        async def behavior(request: Any, context: Context) -> AsyncIterator[Any]:
            admission = await self._admit(method, request, context)
            answers: AsyncIterator[Any] = aiter(handler(request, context))
            try:
                async for answer in answers:
                    admission.see(answer)
                    yield answer
            finally:
                if inspect.isasyncgen(answers):
                    await answers.aclose()  # now: it may hold a slot of the engine
                await admission.settle()

        return behavior

    async def _admit(self, method: str, request: Any, context: Context) -> Admission:
        admission = await self._authenticator.admit(caller_of(method, context), request)
        ADMITTED.set(admission.owner)  # each call has its own task, so this ends with it
        return admission


def caller_of(method: str, context: Context) -> Caller:
    """Who makes a call. Raises InvalidField where the owner's name is too long."""
    given = metadata_of(context, AUTHORIZATION_KEY)
    has_key = given[: len(BEARER)].lower() == BEARER.lower()
    proved = context.auth_context() or {}
    return Caller(
        method=method,
        key=given[len(BEARER) :].strip() if has_key else "",
        owner=owner(context),
        names=frozenset(
            name.decode("utf-8", "replace") for kind in _CERTIFIED for name in proved.get(kind, ())
        ),
        from_here=context.peer().startswith(_HERE),
    )

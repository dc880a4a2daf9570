"""Carries out the steps of operations, on an event loop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc

from hearth_client.channel import Mesh, Method, deadline_of, options
from hearth_client.operations import Begin, Call, Operation, Options, Pause, Session, Step, Stream
from hearth_client.operations.steps import Patience
from hearth_client.running import failures
from hearth_client.v1.autosteer_service_pb2_grpc import AutoSteerServiceStub
from hearth_client.v1.feature_service_pb2_grpc import FeatureServiceStub
from hearth_client.v1.inference_service_pb2_grpc import InferenceServiceStub
from hearth_client.v1.variant_service_pb2_grpc import VariantServiceStub

if TYPE_CHECKING:  # the asynchronous stubs are the same classes where they run
    from hearth_client.v1.autosteer_service_pb2_grpc import AutoSteerServiceAsyncStub
    from hearth_client.v1.feature_service_pb2_grpc import FeatureServiceAsyncStub
    from hearth_client.v1.inference_service_pb2_grpc import InferenceServiceAsyncStub
    from hearth_client.v1.variant_service_pb2_grpc import VariantServiceAsyncStub

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AsyncStubs:
    """gRPC's own stubs, named as the services."""

    InferenceService: InferenceServiceAsyncStub
    FeatureService: FeatureServiceAsyncStub
    VariantService: VariantServiceAsyncStub
    AutoSteerService: AutoSteerServiceAsyncStub


class AsyncRunner:
    """One channel for each address, opened at the first call, on its loop; and the session of one client."""

    def __init__(self, mesh: Mesh, credentials: grpc.ChannelCredentials | None, options: Options) -> None:
        self._mesh, self._credentials = mesh, credentials
        self._opened: list[tuple[AsyncStubs, list[grpc.aio.Channel]]] = []
        self._take(options)

    def _take(self, options: Options) -> None:
        self.options = options
        self.session = Session(Patience(options.wait), options.sae)

    @property
    def stubs(self) -> AsyncStubs:
        """gRPC's own stubs; the first use opens the channels."""
        if not self._opened:
            self._opened.append(self._open())
        return self._opened[0][0]

    def having(self, **changes: Any) -> Self:
        """Another one on the same channels; None leaves an option as it is."""
        made = object.__new__(type(self))
        made._mesh, made._credentials, made._opened = self._mesh, self._credentials, self._opened
        made._take(
            replace(self.options, **{key: value for key, value in changes.items() if value is not None})
        )
        return made

    async def run(self, operation: Operation[T]) -> T:
        """What an operation returns; HearthError where a call fails for good."""
        try:
            step = next(operation)
            while True:
                try:
                    answer = await self._perform(step)
                except BaseException as problem:  # cancellation too: the operation may have something to end
                    step = operation.throw(problem)
                else:
                    step = operation.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result

    async def close(self) -> None:
        """Ends the channels, and calls that still run."""
        while self._opened:
            for channel in self._opened.pop()[1]:
                await channel.close()

    def _open(self) -> tuple[AsyncStubs, list[grpc.aio.Channel]]:
        at = self._mesh.by_service()
        channels = {address: _channel(address, self._credentials) for address in dict.fromkeys(at.values())}
        stubs = AsyncStubs(
            InferenceServiceStub(channels[at["InferenceService"]]),
            FeatureServiceStub(channels[at["FeatureService"]]),
            VariantServiceStub(channels[at["VariantService"]]),
            AutoSteerServiceStub(channels[at["AutoSteerService"]]),
        )
        return stubs, list(channels.values())

    async def _perform(self, step: Step) -> Any:
        match step:
            case Pause(seconds):
                await asyncio.sleep(seconds)
                return None
            case Call(method, request):
                with failures():
                    return await self._call(method, request)
            case Stream(method, request, each):
                with failures():
                    call = self._call(method, request)
                    try:
                        async for answer in call:
                            each(answer)
                    finally:
                        call.cancel()  # nothing happens to one that has ended
                return None
            case Begin(method, request):
                with failures():
                    call = self._call(method, request)
                    return call, await anext(aiter(call))

    def _call(self, method: Method[Any, Any], request: Any) -> Any:
        callable_ = getattr(getattr(self.stubs, method.service), method.name)
        return callable_(
            request, timeout=deadline_of(method, self.options.deadline), metadata=self.options.metadata
        )


def _channel(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=options())
    return grpc.aio.secure_channel(address, credentials, options=options())

"""Carries out the steps of operations, in the caller's thread."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

import grpc

from hearth_client.channel import Mesh, Method, deadline_of, options
from hearth_client.errors import error_of
from hearth_client.operations import Begin, Call, Operation, Options, Pause, Session, Step, Stream
from hearth_client.operations.steps import Patience
from hearth_client.v1.autosteer_service_pb2_grpc import AutoSteerServiceStub
from hearth_client.v1.feature_service_pb2_grpc import FeatureServiceStub
from hearth_client.v1.inference_service_pb2_grpc import InferenceServiceStub
from hearth_client.v1.variant_service_pb2_grpc import VariantServiceStub

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stubs:
    """gRPC's own stubs, named as the services."""

    InferenceService: InferenceServiceStub
    FeatureService: FeatureServiceStub
    VariantService: VariantServiceStub
    AutoSteerService: AutoSteerServiceStub


class Runner:
    """One channel for each address, and the session of one client."""

    def __init__(self, mesh: Mesh, credentials: grpc.ChannelCredentials | None, options: Options) -> None:
        at = mesh.by_service()
        self._channels = {address: _channel(address, credentials) for address in dict.fromkeys(at.values())}
        self.stubs = Stubs(
            InferenceServiceStub(self._channels[at["InferenceService"]]),
            FeatureServiceStub(self._channels[at["FeatureService"]]),
            VariantServiceStub(self._channels[at["VariantService"]]),
            AutoSteerServiceStub(self._channels[at["AutoSteerService"]]),
        )
        self._take(options)

    def _take(self, options: Options) -> None:
        self.options = options
        self.session = Session(Patience(options.wait), options.sae)

    def having(self, **changes: Any) -> Self:
        """Another one on the same channels; None leaves an option as it is."""
        made = object.__new__(type(self))
        made._channels, made.stubs = self._channels, self.stubs
        made._take(
            replace(self.options, **{key: value for key, value in changes.items() if value is not None})
        )
        return made

    def run(self, operation: Operation[T]) -> T:
        """What an operation returns; HearthError where a call fails for good."""
        try:
            step = next(operation)
            while True:
                try:
                    answer = self._perform(step)
                except BaseException as problem:  # Ctrl-C too: the operation may have something to end
                    step = operation.throw(problem)
                else:
                    step = operation.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result

    def close(self) -> None:
        """Ends the channels, and calls that still run."""
        for channel in self._channels.values():
            channel.close()

    def _perform(self, step: Step) -> Any:
        match step:
            case Pause(seconds):
                time.sleep(seconds)
                return None
            case Call(method, request):
                with failures():
                    return self._call(method, request)
            case Stream(method, request, each):
                with failures():
                    call = self._call(method, request)
                    try:
                        for answer in call:
                            each(answer)
                    finally:
                        call.cancel()  # nothing happens to one that has ended
                return None
            case Begin(method, request):
                with failures():
                    call = self._call(method, request)
                    return call, next(call)

    def _call(self, method: Method[Any, Any], request: Any) -> Any:
        callable_ = getattr(getattr(self.stubs, method.service), method.name)
        return callable_(
            request, timeout=deadline_of(method, self.options.deadline), metadata=self.options.metadata
        )


@contextmanager
def failures() -> Iterator[None]:
    """Calls made within raise HearthError instead of grpc's own error; works around awaits and streams too."""
    try:
        yield
    except grpc.RpcError as error:
        raise error_of(error) from error


def _channel(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    if credentials is None:
        return grpc.insecure_channel(address, options=options())
    return grpc.secure_channel(address, credentials, options=options())

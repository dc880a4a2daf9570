"""A service called by what its server says of itself, and told what a refusal must be."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from services.rpc.status import RpcFailure
from tests.mesh.malformed import Malformed

ALLOWED = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
"""The codes of refusals."""


class Reflected:
    """Calls methods of a service by what the server says of it."""

    def __init__(
        self, channel: grpc.Channel, service: str, metadata: tuple[tuple[str, str], ...] = ()
    ) -> None:
        pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        self._channel, self._service, self._metadata = channel, service, metadata
        self.methods = {m.name: m for m in pool.FindServiceByName(service).methods}

    def request(self, method: str, like: Message) -> Message:
        """The same request in the reflected schema's own class."""
        message: Message = message_factory.GetMessageClass(self.methods[method].input_type)()
        message.ParseFromString(like.SerializeToString())
        return message

    def call(self, method: str, request: Message) -> None:
        """Calls and reads all that comes."""
        descriptor = self.methods[method]
        answer = message_factory.GetMessageClass(descriptor.output_type)
        path = f"/{self._service}/{method}"
        make: Any = self._channel.unary_stream if descriptor.server_streaming else self._channel.unary_unary
        call = make(
            path, request_serializer=type(request).SerializeToString, response_deserializer=answer.FromString
        )
        result = call(request, timeout=60, metadata=self._metadata)
        if descriptor.server_streaming:
            for _ in result:
                pass

    def problem(self, case: Malformed) -> str:
        """What is wrong with the answer to a malformed request; empty if it is as it must be."""
        try:
            self.call(case.method, case.request)
        except grpc.RpcError as error:
            failure = RpcFailure.of(error)
            if failure.code not in ALLOWED:
                return f"{case.method} {case.path}: {failure.code} {failure.message}"
            if not failure.field:
                return f"{case.method} {case.path}: names no field: {failure.message}"
            return ""
        return f"{case.method} {case.path}: was accepted"

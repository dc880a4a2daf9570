"""A thousand malformed requests, made from the reflected schema: each is refused by name, and the server serves on."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from services.rpc.status import RpcFailure
from tests.mesh.conftest import InferenceProcess, chat
from tests.mesh.malformed import Malformed, malformed, twice
from tests.mesh.valid import valid_requests

pytestmark = pytest.mark.model
SERVICE = "hearth.v1.InferenceService"
COUNT = 1000
ALLOWED = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


class Reflected:
    """Calls methods by what the server says of itself."""

    def __init__(self, channel: grpc.Channel) -> None:
        pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        self._channel = channel
        self.methods = {m.name: m for m in pool.FindServiceByName(SERVICE).methods}

    def request(self, method: str, like: Message) -> Message:
        """The same request in the reflected schema's own class."""
        message: Message = message_factory.GetMessageClass(self.methods[method].input_type)()
        message.ParseFromString(like.SerializeToString())
        return message

    def call(self, method: str, request: Message) -> None:
        """Calls and reads all that comes."""
        descriptor = self.methods[method]
        answer = message_factory.GetMessageClass(descriptor.output_type)
        path = f"/{SERVICE}/{method}"
        make: Any = self._channel.unary_stream if descriptor.server_streaming else self._channel.unary_unary
        call = make(
            path, request_serializer=type(request).SerializeToString, response_deserializer=answer.FromString
        )
        result = call(request, timeout=60)
        if descriptor.server_streaming:
            for _ in result:
                pass


def test_a_thousand_malformed_requests_are_refused_by_name_and_the_server_serves_on(
    inference: InferenceProcess,
) -> None:
    with grpc.insecure_channel(inference.address) as channel:
        server = Reflected(channel)
        valid = [(method, server.request(method, r)) for method, r in valid_requests()]
        for method, request in valid:
            server.call(method, request)  # so that what is refused below is refused for its fault
        assert {method for method, _ in valid} == set(server.methods)
        cases = [case for method, request in valid for case in malformed(method, request)]
        generator = random.Random(0)
        while len(cases) < COUNT:
            cases.append(twice(*generator.choice(valid), generator))
        problems = [problem for case in cases if (problem := _problem(server, case))]
        assert not problems, "\n".join(problems[:20])
        assert len(cases) >= COUNT
        for method, request in valid:
            server.call(method, request)


def _problem(server: Reflected, case: Malformed) -> str:
    """What is wrong with the answer to a malformed request; empty if it is as it must be."""
    try:
        server.call(case.method, case.request)
    except grpc.RpcError as error:
        failure = RpcFailure.of(error)
        if failure.code not in ALLOWED:
            return f"{case.method} {case.path}: {failure.code} {failure.message}"
        if not failure.field:
            return f"{case.method} {case.path}: names no field: {failure.message}"
        return ""
    return f"{case.method} {case.path}: was accepted"


def test_cases_cover_every_method_and_many_faults() -> None:
    counts = Counter(
        case.method for method, request in valid_requests() for case in malformed(method, request)
    )
    assert min(counts.values()) >= 3
    assert counts["Generate"] >= 100
    assert chat("x").chat.messages[0].content == "x"

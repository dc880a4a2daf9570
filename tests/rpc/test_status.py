"""Claims about errors on their way to the caller."""

from __future__ import annotations

import grpc
import pytest

from hearth.v1 import error_pb2
from hearth.v1 import inference_service_pb2 as pb
from services.errors import InvalidField, ModelNotServed, QueueFull, Reason
from services.rpc.channel import FieldViolation, RpcFailure, rpc_failures
from services.rpc.status import STATUS_CODES
from tests.rpc.harness import DELTA, Service, error_of, raising, served, stub

# As error.proto documents them.
DOCUMENTED = {
    "INVALID_FIELD": grpc.StatusCode.INVALID_ARGUMENT,
    "MODEL_NOT_SERVED": grpc.StatusCode.NOT_FOUND,
    "SAE_NOT_SERVED": grpc.StatusCode.NOT_FOUND,
    "FEATURE_OUT_OF_RANGE": grpc.StatusCode.OUT_OF_RANGE,
    "NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "PROMPT_TOO_LONG": grpc.StatusCode.OUT_OF_RANGE,
    "ETAG_MISMATCH": grpc.StatusCode.ABORTED,
    "QUEUE_FULL": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "QUOTA_EXCEEDED": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "MODEL_LOADING": grpc.StatusCode.UNAVAILABLE,
    "DEADLINE_UNREACHABLE": grpc.StatusCode.DEADLINE_EXCEEDED,
    "ALREADY_EXISTS": grpc.StatusCode.ALREADY_EXISTS,
    "DEPENDENCY_UNAVAILABLE": grpc.StatusCode.UNAVAILABLE,
    "IMPORT_INCOMPLETE": grpc.StatusCode.FAILED_PRECONDITION,
    "ENGINE_UNSUPPORTED": grpc.StatusCode.UNIMPLEMENTED,
    "KEY_REFUSED": grpc.StatusCode.UNAUTHENTICATED,
    "NOT_ALLOWED": grpc.StatusCode.PERMISSION_DENIED,
    "INTERNAL": grpc.StatusCode.INTERNAL,
}


async def fail_unary(service: Service) -> RpcFailure:
    async with served(service) as (_, channel):
        with pytest.raises(RpcFailure) as failed, rpc_failures():
            await stub(channel).ListModels(pb.ListModelsRequest(), metadata=(("x-request-id", "mine-1"),))
    return failed.value


async def fail_stream(service: Service) -> tuple[list[pb.GenerateResponse], RpcFailure]:
    received: list[pb.GenerateResponse] = []

    async def receive(channel: grpc.aio.Channel) -> None:
        metadata = (("x-request-id", "mine-2"),)
        async for response in stub(channel).Generate(pb.GenerateRequest(), metadata=metadata):
            received.append(response)

    async with served(service) as (_, channel):
        with pytest.raises(RpcFailure) as failed, rpc_failures():
            await receive(channel)
    return received, failed.value


def test_every_reason_of_the_schema_has_a_status() -> None:
    names = {
        name.removeprefix("ERROR_REASON_") for name in error_pb2.ErrorReason.DESCRIPTOR.values_by_name
    } - {"UNSPECIFIED"}
    assert names == {reason.value for reason in Reason} == set(DOCUMENTED)
    assert {reason.value: code for reason, code in STATUS_CODES.items()} == DOCUMENTED


# A retried call would only make the tests slow: MODEL_LOADING has a claim of its own in test_channel.
@pytest.mark.parametrize(
    "reason", [reason for reason in Reason if STATUS_CODES[reason] is not grpc.StatusCode.UNAVAILABLE]
)
async def test_a_unary_call_ends_in_the_status_of_its_error(reason: Reason) -> None:
    failure = await fail_unary(raising(error_of(reason, field="a.b[1]", retry_after=2.5)))
    assert failure.code is DOCUMENTED[reason.value]
    assert failure.reason is reason
    assert failure.message == "the problem"
    assert failure.violations == (FieldViolation("a.b[1]", "the problem"),)
    assert failure.retry_after == 2.5
    assert failure.request_id == "mine-1"


@pytest.mark.parametrize("reason", Reason)
async def test_a_stream_ends_in_the_status_of_its_error(reason: Reason) -> None:
    received, failure = await fail_stream(raising(error_of(reason, field="a.b[1]", retry_after=0)))
    assert received == [DELTA]
    assert (failure.code, failure.reason) == (DOCUMENTED[reason.value], reason)
    assert (failure.field, failure.retry_after, failure.request_id) == ("a.b[1]", 0, "mine-2")


async def test_an_error_without_field_and_retry_has_neither() -> None:
    failure = await fail_unary(raising(error_of(Reason.NOT_FOUND)))
    assert failure.violations == ()
    assert failure.field == ""
    assert failure.retry_after is None


async def test_named_errors_arrive_whole() -> None:
    failure = await fail_unary(raising(QueueFull(7, 3)))
    assert (failure.reason, failure.retry_after) == (Reason.QUEUE_FULL, 3)
    failure = await fail_unary(raising(ModelNotServed("gpt", ["smol"])))
    assert failure.message == "model 'gpt' is not served here; served: smol"


async def test_a_very_long_message_arrives_cut() -> None:
    failure = await fail_unary(raising(InvalidField("f", "\N{GRINNING FACE}é" * 3000)))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.field == "f"
    assert failure.message.startswith("f: \N{GRINNING FACE}é")
    assert failure.message.endswith("...")


async def test_an_unreachable_server_is_a_failure_without_reason() -> None:
    server_gone = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, details="no connection")
    failure = RpcFailure.of(server_gone)
    assert (failure.code, failure.reason, failure.message) == (
        grpc.StatusCode.UNAVAILABLE,
        None,
        "no connection",
    )


async def test_details_that_cannot_be_read_are_left_out() -> None:
    metadata = grpc.aio.Metadata(("grpc-status-details-bin", b"\xff\xff"))
    failure = RpcFailure.of(
        grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, trailing_metadata=metadata, details="x")
    )
    assert (failure.code, failure.reason, failure.violations) == (grpc.StatusCode.NOT_FOUND, None, ())

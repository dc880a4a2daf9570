"""protos/service_config.json: what a client does on its own about time, failure and several servers."""

import importlib
import importlib.resources
import json
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import MethodOptions

from hearth.v1 import inference_service_pb2 as inference
from hearth.v1 import inference_service_pb2_grpc as inference_grpc

PROTOS = Path(__file__).resolve().parents[2] / "protos"
TEXT = (importlib.resources.files("hearth.v1") / "service_config.json").read_text()
CONFIG = json.loads(TEXT)


def by_method() -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (name["service"], name["method"]): entry for entry in CONFIG["methodConfig"] for name in entry["name"]
    }


def methods_with_their_idempotency() -> dict[tuple[str, str], bool]:
    found = {}
    for path in PROTOS.glob("hearth/v1/*.proto"):
        descriptor = importlib.import_module(f"hearth.v1.{path.stem}_pb2").DESCRIPTOR
        for service in descriptor.services_by_name.values():
            for method in service.methods:
                level = method.GetOptions().idempotency_level
                found[service.full_name, method.name] = level != MethodOptions.IDEMPOTENCY_UNKNOWN
    return found


def test_it_names_every_method_once() -> None:
    names = [name for entry in CONFIG["methodConfig"] for name in entry["name"]]
    assert len(names) == len(by_method())
    assert set(by_method()) == set(methods_with_their_idempotency())


def test_every_call_has_a_deadline() -> None:
    assert all(0 < float(entry["timeout"].removesuffix("s")) <= 600 for entry in by_method().values())


def test_only_idempotent_methods_are_retried_and_only_when_unavailable() -> None:
    for method, idempotent in methods_with_their_idempotency().items():
        policy = by_method()[method].get("retryPolicy")
        assert (policy is not None) == idempotent, method
        if policy is not None:
            assert policy["retryableStatusCodes"] == ["UNAVAILABLE"]


class Flaky(inference_grpc.InferenceServiceServicer):
    """Fails each method's first two calls with UNAVAILABLE."""

    def __init__(self) -> None:
        self.calls = {"ListModels": 0, "Generate": 0}

    def _fail_at_first(self, method: str, context: grpc.ServicerContext) -> None:
        self.calls[method] += 1
        if self.calls[method] <= 2:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")

    def ListModels(self, request, context):
        self._fail_at_first("ListModels", context)
        return inference.ListModelsResponse(next_page_token="end")

    def Generate(self, request, context):
        self._fail_at_first("Generate", context)
        yield inference.GenerateResponse()

    Tokenize = ComputeLogits = Inspect = BatchInspect = Attribute = Contrast = None


@pytest.fixture
def flaky():
    """A server whose first two calls fail, and a client stub with the service config."""
    servicer = Flaky()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    inference_grpc.add_InferenceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.service_config", TEXT)]) as channel:
        yield inference_grpc.InferenceServiceStub(channel), servicer
    server.stop(None)


def test_a_client_that_loads_it_rides_out_a_short_outage(flaky) -> None:
    stub, servicer = flaky
    assert stub.ListModels(inference.ListModelsRequest()).next_page_token == "end"
    assert servicer.calls["ListModels"] == 3


def test_a_generation_is_never_started_twice(flaky) -> None:
    stub, servicer = flaky
    with pytest.raises(grpc.RpcError) as failure:
        list(stub.Generate(inference.GenerateRequest()))
    assert failure.value.code() == grpc.StatusCode.UNAVAILABLE
    assert servicer.calls["Generate"] == 1

"""Hundreds of malformed requests to the autosteer process: each is refused by name before a job is queued."""

from __future__ import annotations

import random
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message

from hearth.v1 import autosteer_service_pb2 as pb
from hearth.v1 import autosteer_service_pb2_grpc as rpc
from services.rpc.calls import OWNER_KEY
from tests.mesh.autosteered import TIMEOUT, stack_in
from tests.mesh.malformed import malformed, twice
from tests.mesh.reflected import Reflected
from tests.mesh.rules import AUTOSTEER
from tests.mesh.valid_autosteer import REQUEST_ID, prepare, valid_autosteer_requests

pytestmark = pytest.mark.model
COUNT = 300
ANN = ((OWNER_KEY, "ann"),)
SERVICE = "hearth.v1.AutoSteerService"


def test_malformed_requests_are_refused_by_name_and_no_job_is_made(
    sentence_encoder: Path, tmp_path: Path
) -> None:
    with (
        stack_in(tmp_path, processes=("tiny", "broker", "server")) as stack,
        grpc.insecure_channel(stack.address) as channel,
    ):
        server, stub = Reflected(channel, SERVICE, ANN), rpc.AutoSteerServiceStub(channel)

        def jobs() -> list[str]:
            listed = stub.ListAutoSteerJobs(pb.ListAutoSteerJobsRequest(), timeout=TIMEOUT, metadata=ANN)
            return [job.id for job in listed.jobs]

        job = prepare(channel, ANN)
        valid = [(method, server.request(method, asked)) for method, asked in valid_autosteer_requests(job)]
        assert {method for method, _ in valid} == set(server.methods)
        for method, request in valid:  # so that what is refused below is refused for its fault
            server.call(method, request)
        made = jobs()
        cases = [case for method, request in valid for case in malformed(method, request, AUTOSTEER)]
        named = [case for case in cases if not repeats(case.request)]
        cases = [*named, *(case for case in cases if case.path.startswith("request_id"))]
        without = [(method, request) for method, request in valid if not repeats(request)]
        generator = random.Random(0)
        while len(cases) < COUNT:
            cases.append(twice(*generator.choice(without), AUTOSTEER, generator))
        problems = [problem for case in cases if (problem := server.problem(case))]
        assert not problems, "\n".join(problems[:20])
        assert jobs() == made
        for method, request in valid[2:]:
            server.call(method, request)


def repeats(request: Message) -> bool:
    """Whether a request has the request_id of one that was answered: another spec is refused for that alone."""
    return getattr(request, "request_id", "") == REQUEST_ID

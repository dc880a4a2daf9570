"""A thousand malformed requests, made from the reflected schema: each is refused by name, and the server serves on."""

from __future__ import annotations

import random
from collections import Counter

import grpc
import pytest

from tests.mesh.conftest import chat
from tests.mesh.malformed import malformed, twice
from tests.mesh.processes import Process
from tests.mesh.reflected import Reflected
from tests.mesh.rules import INFERENCE
from tests.mesh.valid import valid_requests

pytestmark = pytest.mark.model
SERVICE = "hearth.v1.InferenceService"
COUNT = 1000


def test_a_thousand_malformed_requests_are_refused_by_name_and_the_server_serves_on(
    inference: Process,
) -> None:
    with grpc.insecure_channel(inference.address) as channel:
        server = Reflected(channel, SERVICE)
        valid = [(method, server.request(method, r)) for method, r in valid_requests()]
        for method, request in valid:
            server.call(method, request)  # so that what is refused below is refused for its fault
        assert {method for method, _ in valid} == set(server.methods)
        cases = [case for method, request in valid for case in malformed(method, request, INFERENCE)]
        generator = random.Random(0)
        while len(cases) < COUNT:
            cases.append(twice(*generator.choice(valid), INFERENCE, generator))
        problems = [problem for case in cases if (problem := server.problem(case))]
        assert not problems, "\n".join(problems[:20])
        assert len(cases) >= COUNT
        for method, request in valid:
            server.call(method, request)


def test_cases_cover_every_method_and_many_faults() -> None:
    counts = Counter(
        case.method for method, request in valid_requests() for case in malformed(method, request, INFERENCE)
    )
    assert min(counts.values()) >= 3
    assert counts["Generate"] >= 100
    assert chat("x").chat.messages[0].content == "x"

"""A thousand malformed requests to the features process: each is refused by name, and the server serves on."""

from __future__ import annotations

import random

import grpc
import pytest
from google.protobuf.message import Message

from services.rpc.calls import OWNER_KEY
from tests.mesh.malformed import malformed, twice
from tests.mesh.processes import Process
from tests.mesh.reflected import Reflected
from tests.mesh.rules import FEATURES
from tests.mesh.valid_features import prepare, valid_feature_requests, valid_variant_requests

pytestmark = pytest.mark.model
COUNT = 500
"""Of each service."""
ANN = ((OWNER_KEY, "ann"),)
VALID = {
    "hearth.v1.FeatureService": valid_feature_requests,
    "hearth.v1.VariantService": valid_variant_requests,
}


@pytest.mark.parametrize("service", list(VALID))
def test_malformed_requests_are_refused_by_name_and_the_server_serves_on(
    features: Process, service: str
) -> None:
    with grpc.insecure_channel(features.address) as channel:
        server = Reflected(channel, service, ANN)

        def valid_requests() -> list[tuple[str, Message]]:
            prepared = prepare(channel, ANN)
            return [(method, server.request(method, request)) for method, request in VALID[service](prepared)]

        def all_succeed(valid: list[tuple[str, Message]]) -> None:
            for method, request in valid:
                server.call(method, request)

        all_succeed(valid_requests())  # so that what is refused below is refused for its fault
        valid = valid_requests()
        assert {method for method, _ in valid} == set(server.methods)
        cases = [case for method, request in valid for case in malformed(method, request, FEATURES)]
        generator = random.Random(0)
        while len(cases) < COUNT:
            cases.append(twice(*generator.choice(valid), FEATURES, generator))
        problems = [problem for case in cases if (problem := server.problem(case))]
        assert not problems, "\n".join(problems[:20])
        assert len(cases) >= COUNT
        all_succeed(valid)

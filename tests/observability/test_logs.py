"""Access logs: JSON in every process, one line a call, with all that is needed to follow it and no word of a caller."""

from __future__ import annotations

from typing import Any

from services.rpc.calls import digest_of
from tests.observability.conftest import ANSWERED, BASE, BEHAVIOR, OWNER, PROMPT, QUERY, Observed

GENERATE = "/hearth.v1.InferenceService/Generate"


def of(observed: Observed, message: str, **fields: Any) -> list[dict[str, Any]]:
    wanted = {"message": message, **fields}
    return [line for line in observed.lines if wanted.items() <= line.items()]


def test_a_request_and_the_calls_that_it_makes_have_the_same_ids(observed: Observed) -> None:
    requests = of(observed, "request", route=f"{BASE}/generate", status=200)
    assert len(requests) == 3
    for request in requests:
        (call,) = of(observed, "call", method=GENERATE, request_id=request["request_id"])
        assert call["trace_id"] == request["trace_id"]
        assert call["owner"] == request["owner"] == digest_of(OWNER)
        assert call["tokens"] == request["tokens"] > 40
        assert call["completion_tokens"] == 6
        assert call["code"] == "OK"
        assert 0 < call["ms"] <= request["ms"]


def test_lines_of_a_job_carry_the_trace_of_its_request(observed: Observed) -> None:
    (request,) = of(observed, "request", route=f"{BASE}/autosteer/jobs", status=200)
    (begins,) = of(observed, "a job begins")
    assert begins["trace_id"] == request["trace_id"]


def test_no_word_of_a_caller_is_in_the_log(observed: Observed) -> None:
    assert len(observed.lines) > 20
    for secret in (PROMPT, ANSWERED, QUERY, BEHAVIOR, OWNER):
        assert secret not in observed.written

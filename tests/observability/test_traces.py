"""One request is one trace, through every process that has a part in it."""

from __future__ import annotations

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from services.rpc import traces
from services.rpc.channel import connect
from tests.observability.conftest import (
    ANSWERED,
    BAD,
    BASE,
    BEHAVIOR,
    GIVEN_TRACE,
    OWNER,
    PROMPT,
    QUERY,
    Observed,
)

GENERATE = "hearth.v1.InferenceService/Generate"


def trace_of(observed: Observed, name: str) -> list[Span]:
    """All spans of the trace that a root of that name began, or took up."""
    root = next(span for span in observed.spans if span.name == name)
    return [span for span in observed.spans if span.trace_id == root.trace_id]


def named(spans: list[Span], name: str) -> set[int]:
    return {span.kind for span in spans if span.name == name}


def test_a_job_is_one_trace_from_http_through_grpc_to_its_worker(observed: Observed) -> None:
    spans = trace_of(observed, f"POST {BASE}/autosteer/jobs")
    both = {Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_SERVER}
    assert named(spans, "hearth.v1.AutoSteerService/CreateAutoSteerJob") == both
    assert named(spans, "hearth.v1.InferenceService/ListModels") == both
    assert named(spans, "autosteer job") == {Span.SPAN_KIND_CONSUMER}
    assert named(spans, "autosteer draft") == {Span.SPAN_KIND_INTERNAL}
    assert named(spans, "hearth.v1.InferenceService/Contrast") == both, "what the worker asked for"
    assert named(spans, "hearth.v1.FeatureService/SearchFeatures") == both
    ids = {span.span_id for span in spans}
    above = [span.parent_span_id for span in spans if span.parent_span_id]
    assert len(above) == len(spans) - 1, "all but the request itself"
    assert set(above) <= ids


def test_a_search_is_one_trace_through_features(observed: Observed) -> None:
    spans = trace_of(observed, "GET /api/inference/v1/features/search")
    assert Span.SPAN_KIND_SERVER in named(spans, "hearth.v1.FeatureService/SearchFeatures")


def test_a_callers_own_trace_is_taken_up(observed: Observed) -> None:
    spans = [span for span in observed.spans if span.trace_id.hex() == GIVEN_TRACE]
    assert Span.SPAN_KIND_SERVER in named(spans, GENERATE)
    assert named(spans, f"POST {BASE}/generate") == {Span.SPAN_KIND_SERVER}


def test_a_span_says_how_its_call_ended(observed: Observed) -> None:
    missing = [
        attribute.value.string_value
        for span in observed.spans
        if span.name == GENERATE and span.kind == Span.SPAN_KIND_SERVER
        for attribute in span.attributes
        if attribute.key == "rpc.response.status_code"
    ]
    assert {"OK", "NOT_FOUND"} <= set(missing)
    assert observed.services == {"hearth-light"}


def test_no_word_of_a_caller_is_in_any_span(observed: Observed) -> None:
    told = "".join(map(str, observed.spans))
    for secret in (PROMPT, ANSWERED, QUERY, BEHAVIOR, OWNER):
        assert secret not in told
    assert BAD in told, "the name of a model is told"


async def test_channels_and_spans_are_as_they_were_where_nothing_is_sent() -> None:
    assert traces.interceptors() == []
    assert traces.carried() == {}
    with traces.span("anything", attributes={"a": 1}) as span:
        span.set({"b": 2})
        assert traces.trace_id() == ""
    async with connect("localhost:1") as channel:
        kinds = [type(each).__module__ for each in channel._unary_unary_interceptors]  # type: ignore[attr-defined]
    assert "services.rpc.otel" not in kinds

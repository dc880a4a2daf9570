"""OpenTelemetry: the one place that knows its library, loaded only where traces are sent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import grpc
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from services.rpc.traces import Kind, Value, ended, rpc_attributes

_KINDS = {
    Kind.INTERNAL: trace.SpanKind.INTERNAL,
    Kind.SERVER: trace.SpanKind.SERVER,
    Kind.CLIENT: trace.SpanKind.CLIENT,
    Kind.CONSUMER: trace.SpanKind.CONSUMER,
}


class OtelSpan:
    """See traces.Span."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def set(self, attributes: Mapping[str, Value]) -> None:
        """Adds attributes."""
        self._span.set_attributes(attributes)

    def rename(self, name: str) -> None:
        """Gives it another name."""
        self._span.update_name(name)

    def fail(self) -> None:
        """Marks it as failed; why is in the log, for an error's message may quote its caller."""
        self._span.set_status(trace.StatusCode.ERROR)


class OtelTracer:
    """See traces.Tracer. Sends spans in the background, and the last ones when the process ends."""

    def __init__(self, endpoint: str, process: str) -> None:
        """`process` names what runs here, unless OTEL_SERVICE_NAME does."""
        named = Resource.create({"service.name": f"hearth-{process}", "service.version": version("hearth")})
        self._provider = TracerProvider(resource=named.merge(OTELResourceDetector().detect()))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint or None)))
        self._tracer = self._provider.get_tracer("hearth")
        self._headers = TraceContextTextMapPropagator()

    @contextmanager
    def span(
        self, name: str, kind: Kind, parent: Mapping[str, str] | None, attributes: Mapping[str, Value]
    ) -> Iterator[OtelSpan]:
        """See traces.span. What is raised within marks it as failed."""
        above = None if parent is None else self._headers.extract(parent)
        with self._tracer.start_as_current_span(
            name,
            above,
            _KINDS[kind],
            dict(attributes),
            record_exception=False,  # its message may quote what the caller sent
            set_status_on_exception=False,
        ) as made:
            yield OtelSpan(made)

    def trace_id(self) -> str:
        """See traces.trace_id."""
        context = trace.get_current_span().get_span_context()
        return trace.format_trace_id(context.trace_id) if context.is_valid else ""

    def carried(self) -> dict[str, str]:
        """See traces.carried."""
        headers: dict[str, str] = {}
        self._headers.inject(headers)
        return headers

    def interceptors(self) -> list[Any]:
        """See traces.interceptors."""
        return [_UnaryTraced(self), _StreamTraced(self)]

    def stop(self) -> None:
        """Sends what is left."""
        self._provider.shutdown()

    async def call(self, continuation: Any, details: Any, request: Any) -> Any:
        """One call of a channel: its span ends when the call does."""
        method = details.method.decode() if isinstance(details.method, bytes) else details.method
        if method.startswith("/grpc."):  # health checks, every few seconds
            return await continuation(details, request)
        span = self._tracer.start_span(
            method[1:], kind=trace.SpanKind.CLIENT, attributes=rpc_attributes(method)
        )
        headers: dict[str, str] = {}
        self._headers.inject(headers, trace.set_span_in_context(span))
        metadata = grpc.aio.Metadata(*(details.metadata or ()), *headers.items())
        try:
            call = await continuation(details._replace(metadata=metadata), request)
        except BaseException:
            span.end()
            raise
        ending = asyncio.create_task(_end(span, call))
        _ENDING.add(ending)
        ending.add_done_callback(_ENDING.discard)
        return call


_ENDING: set[asyncio.Task[None]] = set()
"""Holds the tasks that wait for calls to end."""


async def _end(span: trace.Span, call: Any) -> None:
    try:
        ended(OtelSpan(span), (await call.code()).name)
    finally:
        span.end()


class _UnaryTraced(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, tracer: OtelTracer) -> None:
        self._tracer = tracer

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._tracer.call(continuation, client_call_details, request)


class _StreamTraced(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, tracer: OtelTracer) -> None:
        self._tracer = tracer

    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._tracer.call(continuation, client_call_details, request)

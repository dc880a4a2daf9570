"""Spans of what a process does. Nothing is made, sent or imported for them before `start`.

No span carries text of a prompt, an answer, a query or a label, nor a key: names of methods, ids and numbers only.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from enum import Enum
from typing import Any, Protocol

from services.rpc.telemetry import TelemetrySettings

Value = str | int | float | bool
TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
"""The headers and metadata in which a trace goes from process to process (W3C Trace Context)."""
_FAILED = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""Statuses that are the server's doing, by OpenTelemetry's conventions."""


class Kind(Enum):
    """Which end of a call a span is, if it is one."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    CONSUMER = "consumer"


class Span(Protocol):
    """What is told of a span while it lasts."""

    def set(self, attributes: Mapping[str, Value]) -> None:
        """Adds attributes."""

    def rename(self, name: str) -> None:
        """Gives it another name."""

    def fail(self) -> None:
        """Marks it as failed."""


class Tracer(Protocol):
    """Makes spans; otel.py has it."""

    def span(
        self, name: str, kind: Kind, parent: Mapping[str, str] | None, attributes: Mapping[str, Value]
    ) -> AbstractContextManager[Span]:
        """A context in which the span is the current one."""

    def trace_id(self) -> str:
        """The current trace's; empty where there is none."""

    def carried(self) -> dict[str, str]:
        """The headers that make another process's span a child of the current one."""

    def interceptors(self) -> list[Any]:
        """What channels are made with."""

    def stop(self) -> None:
        """Sends what is left."""


class _Untold:
    """Stands for a span where none is made."""

    def __enter__(self) -> Span:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def set(self, attributes: Mapping[str, Value]) -> None:
        """Does nothing."""

    def rename(self, name: str) -> None:
        """Does nothing."""

    def fail(self) -> None:
        """Does nothing."""


_UNTOLD = _Untold()
_tracer: Tracer | None = None  # the process's, as its log is


def start(settings: TelemetrySettings, process: str) -> None:
    """Makes and sends spans from now on, where the settings say so. Channels that are open already carry no trace."""
    global _tracer
    if settings.sends_traces:
        from services.rpc.otel import OtelTracer

        _tracer = OtelTracer(settings.otlp_endpoint, process)


def stop() -> None:
    """Sends what is left, and makes no more. At its end a process does so by itself."""
    global _tracer
    if _tracer is not None:
        _tracer.stop()
        _tracer = None


def span(
    name: str,
    kind: Kind = Kind.INTERNAL,
    parent: Mapping[str, str] | None = None,
    attributes: Mapping[str, Value] | None = None,
) -> AbstractContextManager[Span]:
    """A span around what runs within; a child of the current one, or of that in `parent`'s headers."""
    return _UNTOLD if _tracer is None else _tracer.span(name, kind, parent, attributes or {})


def ended(told: Span, code: str) -> None:
    """Says how a call ended, by the name of its gRPC status."""
    told.set({"rpc.response.status_code": code})
    if code in _FAILED:
        told.fail()


def rpc_attributes(method: str) -> dict[str, Value]:
    """What is said of a call of `/package.Service/Method`."""
    return {"rpc.system.name": "grpc", "rpc.method": method.lstrip("/")}


def trace_id() -> str:
    """The current trace's id, for log lines; empty where there is none."""
    return "" if _tracer is None else _tracer.trace_id()


def carried() -> dict[str, str]:
    """The headers that hand the current trace on; empty where there is none."""
    return {} if _tracer is None else _tracer.carried()


def interceptors() -> list[Any]:
    """Of channels: each call is a span, and hands its trace on. Empty where no spans are made."""
    return [] if _tracer is None else _tracer.interceptors()

"""Metrics of every process, for Prometheus, and the port where it fetches them. docs/operations.md lists them all.

Label values come from sets that do not grow with use: methods, statuses, reasons, names of what a process depends on.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics, start_http_server

from services.errors import Reason
from services.rpc.logs import structured
from services.rpc.telemetry import TelemetrySettings

log = logging.getLogger("hearth.rpc")
disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, of which nobody asks

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Upper bounds of what lasts from milliseconds to the longest call."""
_QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

_BUILD = Gauge("hearth_build_info", "1; which process of which version this is", ["process", "version"])
_SERVING = Gauge("hearth_serving", "1 while health checks are answered with SERVING")
_CALLS = Counter("hearth_rpc_calls", "Calls of gRPC that ended, by their status", ["method", "code"])
_CALL_SECONDS = Histogram(
    "hearth_rpc_call_duration_seconds",
    "How long calls of gRPC took, streams included",
    ["method"],
    buckets=SECONDS,
)
_RUNNING = Gauge("hearth_rpc_calls_running", "Calls of gRPC that run")
_ERRORS = Counter(
    "hearth_rpc_errors", "Calls of gRPC that ended with a reason of Hearth's", ["method", "reason"]
)
_UP = Gauge("hearth_dependency_up", "1 while something that the process needs answers", ["dependency"])
_ANSWERS = Histogram(
    "hearth_dependency_answer_seconds",
    "How long what the process needs took to answer when it was asked whether it does",
    ["dependency"],
    buckets=_QUICK,
)


def serve_metrics(settings: TelemetrySettings, process: str) -> int | None:
    """Answers GET /metrics from now on, in a thread of its own; on which port. None where the settings name none.

    Exits with a message where it cannot listen.
    """
    _BUILD.labels(process, version("hearth")).set(1)
    if settings.metrics_port is None:
        return None
    try:
        server, _ = start_http_server(settings.metrics_port, settings.metrics_host)
    except OSError as problem:
        why = "is taken" if problem.errno == errno.EADDRINUSE else problem.strerror or problem
        raise SystemExit(
            f"Metrics cannot be served on {settings.metrics_host}, port {settings.metrics_port}: {why}. "
            "Choose another port with HEARTH_METRICS_PORT."
        ) from None
    port = int(server.server_port)
    log.info("metrics", extra=structured(address=f"{settings.metrics_host}:{port}"))
    return port


@contextmanager
def call_running() -> Iterator[None]:
    """Around a call of gRPC."""
    with _RUNNING.track_inprogress():
        yield


def call_ended(method: str, code: str, seconds: float, reason: Reason | None) -> None:
    """A call of gRPC is over. `method` is one that the server has."""
    name = method.lstrip("/")
    _CALLS.labels(name, code).inc()
    _CALL_SECONDS.labels(name).observe(seconds)
    if reason is not None:
        _ERRORS.labels(name, reason.value).inc()


def serving(is_serving: bool) -> None:
    """What health checks are answered."""
    _SERVING.set(is_serving)


def answered(dependency: str, seconds: float) -> None:
    """Something that the process needs has answered."""
    _UP.labels(dependency).set(1)
    _ANSWERS.labels(dependency).observe(seconds)


def away(dependency: str) -> None:
    """Something that the process needs does not answer."""
    _UP.labels(dependency).set(0)

"""What Prometheus is told of HTTP requests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram

from services.rpc.metrics import SECONDS

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Anybody may send any other word as a method."""
_REQUESTS = Counter("hearth_http_requests", "Requests that were answered", ["method", "route", "status"])
_SECONDS = Histogram(
    "hearth_http_request_duration_seconds",
    "How long requests took, streams included",
    ["route"],
    buckets=SECONDS,
)
_RUNNING = Gauge("hearth_http_requests_running", "Requests that are being answered")
_BROKEN = Counter(
    "hearth_http_requests_broken_off", "Requests whose client left before the end of the answer", ["route"]
)
_TOKENS = Counter("hearth_http_tokens", "Tokens of prompts and answers, as they are charged to keys")


@contextmanager
def request_running() -> Iterator[None]:
    """Around a request."""
    with _RUNNING.track_inprogress():
        yield


def request_ended(method: str, route: str, status: int, seconds: float, *, is_whole: bool) -> None:
    """A request is over. `route` is the template of its path; `status` 0 where no answer began."""
    _REQUESTS.labels(method if method in _METHODS else "other", route, status).inc()
    _SECONDS.labels(route).observe(seconds)
    if not is_whole:
        _BROKEN.labels(route).inc()


def charged(tokens: int) -> None:
    """A key was charged."""
    _TOKENS.inc(tokens)

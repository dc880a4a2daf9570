"""What Prometheus is told of the vector store and of the catalogue."""

from __future__ import annotations

import time
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any, cast

from prometheus_client import Counter, Gauge, Histogram

from services.errors import DependencyUnavailable
from services.features.store.base import VectorStore

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 10.0, 30.0)
_SECONDS = Histogram(
    "hearth_store_call_duration_seconds", "How long the vector store took", ["operation"], buckets=_BUCKETS
)
_ERRORS = Counter("hearth_store_errors", "Calls that the vector store did not answer", ["operation"])
_BEHIND = Gauge(
    "hearth_catalogue_behind", "1 while changes of people's are kept that the catalogue cannot show yet"
)


def measured(store: VectorStore) -> VectorStore:
    """The same store; each call is timed, and counted where it is not answered."""
    return cast("VectorStore", _Measured(store))


def catalogue_behind(is_behind: Callable[[], bool]) -> None:
    """Asked whenever Prometheus asks."""
    _BEHIND.set_function(is_behind)


class _Measured:
    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self._timed: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not iscoroutinefunction(found):
            return found
        if name not in self._timed:
            self._timed[name] = _timed(name, found)
        return self._timed[name]


def _timed(operation: str, call: Callable[..., Any]) -> Callable[..., Any]:
    seconds, errors = _SECONDS.labels(operation), _ERRORS.labels(operation)

    async def timed(*arguments: Any, **named: Any) -> Any:
        started = time.perf_counter()
        try:
            answer = await call(*arguments, **named)
        except DependencyUnavailable:
            errors.inc()
            raise
        seconds.observe(time.perf_counter() - started)
        return answer

    return timed

"""What Prometheus is told of the served models: read from counters that are kept anyway, when it asks."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from services.inference.engine import Engine
from services.inference.host import ModelHost
from services.inference.meters import Buckets, Meters
from services.inference.sequence import Sequence

LABELS = ["model"]


class HostCollector(Collector):
    """Reads the counters of one model from the thread that Prometheus is answered in; no thread waits for it.

    A number may be a step old, and two of them a step apart: nothing is locked.
    """

    def __init__(self, host: ModelHost) -> None:
        self._host = host
        self._model = [host.identity.id]

    def describe(self) -> Iterator[Metric]:
        """The same, without asking twice at the start."""
        return self.collect()

    def collect(self) -> Iterator[Metric]:
        """All metrics of the model."""
        yield from self._engine()
        yield from self._answers(self._host.meters)

    def _engine(self) -> Iterator[Metric]:
        engine = self._host.engine
        running = list(engine.running)
        rows = sum(1 if sequence.shadow is None else 2 for sequence in running)
        yield self._gauge("hearth_engine_sequences_running", "Requests that run", len(running))
        yield self._gauge(
            "hearth_engine_rows_running", "Rows of a step: requests, and shadows that run ahead", rows
        )
        yield self._gauge(
            "hearth_engine_rows_limit", "Rows that run together at most", engine.limits.max_running
        )
        yield self._gauge("hearth_engine_requests_waiting", "Requests in the queue", engine.waiting)
        yield self._gauge(
            "hearth_engine_requests_waiting_limit", "Requests that wait at most", engine.limits.max_waiting
        )
        yield self._counter("hearth_engine_steps", "Steps of the engine", engine.steps)
        if isinstance(engine, Engine):
            yield from self._steering(engine)
            yield from self._memory(engine, running)

    def _steering(self, engine: Engine) -> Iterator[Metric]:
        counts = engine.steering
        yield self._counter(
            "hearth_steering_tokens", "Tokens that steering acted on, at each block", counts.tokens
        )
        yield self._counter(
            "hearth_steering_clipped_tokens",
            "Those whose change was scaled down to its limit",
            counts.clipped,
        )

    def _memory(self, engine: Engine, running: list[Sequence]) -> Iterator[Metric]:
        lanes = [
            lane
            for s in running
            for one in (s, s.shadow)
            if one is not None and (lane := one.lane) is not None
        ]
        held = sum(lane.capacity for lane in lanes)
        yield self._gauge("hearth_kv_tokens_held", "Tokens of KV cache that requests hold", held)
        yield self._gauge(
            "hearth_kv_tokens_limit", "Tokens of KV cache that requests may hold", engine.limits.kv_tokens
        )
        prefix = engine.prefix
        yield self._gauge("hearth_prefix_cache_bytes", "Size of the prefix cache", prefix.bytes)
        yield self._counter(
            "hearth_prefix_cache_hits", "Grains of prompts found in the prefix cache", prefix.hits
        )
        yield self._counter("hearth_prefix_cache_misses", "Grains of prompts not found there", prefix.misses)

    def _answers(self, meters: Meters) -> Iterator[Metric]:
        yield self._counter("hearth_prompt_tokens", "Tokens of prompts", meters.prompt_tokens)
        yield self._counter(
            "hearth_prompt_tokens_cached",
            "Of prompts of generations: tokens from the prefix cache",
            meters.cached_tokens,
        )
        yield self._counter("hearth_generated_tokens", "Tokens of answers", meters.generated_tokens)
        ended = CounterMetricFamily(
            "hearth_generations", "Generations, by why they ended", labels=[*LABELS, "reason"]
        )
        for reason, number in list(meters.ended.items()):
            ended.add_metric([*self._model, reason], number)
        yield ended
        yield self._histogram(
            "hearth_time_to_first_token_seconds",
            "From a request's arrival to its first token",
            meters.first_token,
        )
        yield self._histogram(
            "hearth_inter_token_seconds",
            "Between two tokens of an answer, as they leave the engine",
            meters.between_tokens,
        )
        yield self._histogram(
            "hearth_queue_seconds", "How long generations waited for a place", meters.queued
        )

    def _gauge(self, name: str, what: str, value: float) -> Metric:
        family = GaugeMetricFamily(name, what, labels=LABELS)
        family.add_metric(self._model, value)
        return family

    def _counter(self, name: str, what: str, value: float) -> Metric:
        family = CounterMetricFamily(name, what, labels=LABELS)
        family.add_metric(self._model, value)
        return family

    def _histogram(self, name: str, what: str, buckets: Buckets) -> Metric:
        family = HistogramMetricFamily(name, what, labels=LABELS)
        total, cumulative = 0, []
        for bound, count in zip([*map(str, buckets.bounds), "+Inf"], list(buckets.counts), strict=True):
            total += count
            cumulative.append((bound, total))
        family.add_metric(self._model, cumulative, buckets.sum)
        return family


def tell_of(host: ModelHost) -> None:
    """Metrics of this model are there from now on."""
    REGISTRY.register(HostCollector(host))

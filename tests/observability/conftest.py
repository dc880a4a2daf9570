"""A mesh in this process that tells all it can: traces to a real receiver, metrics over HTTP, log lines as JSON."""

from __future__ import annotations

import io
import json
import logging
import threading
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as rpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from services.inference.metrics import HostCollector
from services.rpc import metrics, traces
from services.rpc.logs import JsonFormatter
from services.rpc.telemetry import TelemetrySettings
from tests.gateway.light import Light, light_in

OWNER, PROMPT, ANSWERED, QUERY, BEHAVIOR, BAD = (
    f"hush-{what}" for what in ("owner", "prompt", "answered", "query", "behavior", "bad")
)
"""Words of callers, none of which may be told to anybody."""
GIVEN_TRACE = "0af7651916cd43dd8448eb211c80319c"
BASE = "/hearth/v1"


class Receiver(rpc.TraceServiceServicer):
    """Takes spans as a collector does."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.resources: set[str] = set()

    def Export(self, request: pb.ExportTraceServiceRequest, context: Any) -> pb.ExportTraceServiceResponse:
        for resource in request.resource_spans:
            attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
            self.resources.add(attributes["service.name"])
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        return pb.ExportTraceServiceResponse()


@dataclass
class Observed:
    """What was told of some traffic."""

    before: Mapping[str, float]
    """Metrics before the traffic, by name and labels as they are written."""
    spans: list[Span] = field(default_factory=list)
    services: set[str] = field(default_factory=set)
    after: Mapping[str, float] = field(default_factory=dict)
    families: set[str] = field(default_factory=set)
    """Names of all metrics, as they stand in queries."""
    lines: list[dict[str, Any]] = field(default_factory=list)
    written: str = ""
    """The log, as it was written."""
    public: int = 0
    """What the gateway's public port answers to /metrics."""

    def grew(self, name: str, **labels: str) -> float:
        """By how much a metric is larger after the traffic; all with these labels together."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        keys = [key for key in self.after if key.partition("{")[0] == name and all(w in key for w in wanted)]
        return sum(self.after[key] - self.before.get(key, 0.0) for key in keys)


@pytest.fixture(scope="session")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Observed:
    """All that was told of the traffic in `_traffic`; everything is off again for other tests."""
    written = io.StringIO()
    with ExitStack() as stack:
        receiver = stack.enter_context(_receiver())
        over = stack.enter_context(_logged(written))
        light = stack.enter_context(light_in(tmp_path_factory.mktemp("observed")))
        collector = HostCollector(light.host)
        REGISTRY.register(collector)
        stack.callback(REGISTRY.unregister, collector)
        port = metrics.serve_metrics(TelemetrySettings(metrics_port=0), "light")
        url = f"http://127.0.0.1:{port}/metrics"
        seen = Observed(scraped(url)[0])
        seen.public = _traffic(light)
        assert over.wait(60), "the worker has left the job"
        seen.after, seen.families = scraped(url)
    seen.spans, seen.services = receiver.spans, receiver.resources
    seen.written = written.getvalue()
    seen.lines = [json.loads(line) for line in seen.written.splitlines()]
    return seen


@contextmanager
def _receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    server = grpc.server(ThreadPoolExecutor(2))
    rpc.add_TraceServiceServicer_to_server(receiver, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    traces.start(TelemetrySettings(otlp_endpoint=f"http://127.0.0.1:{port}"), "light")
    try:
        yield receiver
    finally:
        traces.stop()  # sends what is left
        server.stop(None)


@contextmanager
def _logged(written: io.StringIO) -> Iterator[threading.Event]:
    """Writes the log; gives what is set once a worker says that a job is over for it."""
    over = threading.Event()

    def hear(record: logging.LogRecord) -> bool:
        if record.getMessage().startswith("a job is over here"):
            over.set()
        return True

    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(hear)
    log = logging.getLogger("hearth")
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield over
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def scraped(url: str) -> tuple[dict[str, float], set[str]]:
    """Values by name and labels, and the names that a query may use."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    values: dict[str, float] = defaultdict(float)
    names: set[str] = set()
    endings = {
        "counter": ("_total",),
        "histogram": ("_bucket", "_sum", "_count"),
        "summary": ("_sum", "_count"),
    }
    for family in text_string_to_metric_families(text):
        names |= {family.name + ending for ending in endings.get(family.type, ("",))}
        for sample in family.samples:
            labels = ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
            values[f"{sample.name}{{{labels}}}"] = sample.value
    return dict(values), names


def _traffic(light: Light) -> int:
    """Requests of several kinds, good and bad."""
    client = light.client(light.key(OWNER))
    sampling = {"maxTokens": 6, "seed": "5", "temperature": 0, "ignoreEnd": True}
    steering = {"edits": [{"feature": {"index": 3}, "nudge": 0.4}]}
    prompt = {"text": f"{PROMPT} " + "the sea and ships " * 12}
    asked = {"prompt": prompt, "sampling": sampling, "steering": steering}
    header = {"traceparent": f"00-{GIVEN_TRACE}-b7ad6b7169203331-01"}
    for _ in range(2):  # the second finds the prompt in the prefix cache
        assert client.post(f"{BASE}/generate", json=asked, headers=header).status_code == 200
    asked["steering"] = {"edits": [{"feature": {"index": 3}, "nudge": 90.0}]}  # beyond every limit
    assert client.post(f"{BASE}/generate", json=asked).status_code == 200
    chat = [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": ANSWERED}]
    body = {"model": light.model, "messages": [*chat, chat[0]], "max_tokens": 4}
    assert client.post("/v1/chat/completions", json=body).status_code == 200
    assert client.post(f"{BASE}/inspect", json={"prompt": prompt}).status_code == 200
    found = client.get("/api/inference/v1/features/search", params={"query": QUERY, "model": light.model})
    assert found.status_code == 200
    assert client.post(f"{BASE}/generate", json={"prompt": prompt, "model": BAD}).status_code == 404
    _refused(light)
    _job(client)
    return client.get("/metrics").status_code


def _refused(light: Light) -> None:
    limited = light.client(light.key(f"{OWNER}-limited", requests_per_minute=1))
    assert [limited.get("/v1/models").status_code for _ in range(2)] == [200, 429]
    assert light.client(f"hearth-{BAD}").get("/v1/models").status_code == 401


def _job(client: Any) -> None:
    """A job that is watched until a worker has begun to write, and cancelled then."""
    spec = {"behavior": f"talk of the sea, {BEHAVIOR}", "budget": "20s", "tier": "AUTO_STEER_TIER_QUICK"}
    job = client.post(f"{BASE}/autosteer/jobs", json={"spec": spec}).json()["job"]
    path = f"{BASE}/autosteer/jobs/{job['id']}"
    with client.stream("GET", f"{path}/events") as stream:
        for line in stream.iter_lines():
            if "AUTO_STEER_STAGE_CAUSAL" in line:
                break
    client.post(f"{path}/cancel")
    client.get(f"{path}/events")  # until its last

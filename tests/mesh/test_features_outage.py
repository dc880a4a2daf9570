"""Qdrant gone: UNAVAILABLE with a hint, NOT_SERVING, and recovery without a restart."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from hearth.v1 import feature_service_pb2 as pb
from hearth.v1 import feature_service_pb2_grpc as rpc
from services.errors import Reason
from services.rpc.status import RpcFailure
from tests.features.store.qdrant_test_server import QdrantTestServer
from tests.mesh.catalogued import import_catalog, key
from tests.mesh.processes import Running

pytestmark = pytest.mark.model
SAE = "mesh/outage"
DEADLINE = 15
"""Seconds: that of lookups in the service config."""
SERVING, NOT_SERVING = (
    health_pb2.HealthCheckResponse.SERVING,
    health_pb2.HealthCheckResponse.NOT_SERVING,
)


class Qdrant:
    """The stand-in for a Qdrant server, on a thread of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.server = QdrantTestServer()

    def start(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.start(), self._loop).result(30)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result(30)


@contextmanager
def qdrant() -> Iterator[Qdrant]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def made() -> Qdrant:
        return Qdrant(loop)

    running = asyncio.run_coroutine_threadsafe(made(), loop).result(30)
    running.start()
    yield running
    running.stop()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def test_an_outage_is_told_to_callers_and_health_checks_and_ends_by_itself(
    sentence_encoder: Path, tmp_path: Path
) -> None:
    with (
        qdrant() as store,
        Running("features", data_dir=tmp_path, qdrant_url=store.server.url, watch_seconds=0.2) as process,
        grpc.insecure_channel(process.address) as channel,
    ):
        stub = rpc.FeatureServiceStub(channel)
        import_catalog(stub, 8, SAE)
        changes = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=180)
        assert next(changes).status == SERVING
        store.stop()
        for call in (
            lambda: stub.GetFeature(pb.GetFeatureRequest(key=key(1, SAE)), timeout=DEADLINE),
            lambda: stub.SearchFeatures(pb.SearchFeaturesRequest(query="sea"), timeout=DEADLINE),
        ):
            with pytest.raises(grpc.RpcError) as gone:
                call()
            failure = RpcFailure.of(gone.value)
            assert failure.code is grpc.StatusCode.UNAVAILABLE
            assert failure.reason is Reason.DEPENDENCY_UNAVAILABLE
            assert failure.retry_after
        assert next(changes).status == NOT_SERVING
        store.start()
        assert next(changes).status == SERVING
        assert stub.GetFeature(pb.GetFeatureRequest(key=key(1, SAE)), timeout=DEADLINE).feature.label
        changes.cancel()

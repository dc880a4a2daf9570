"""Calls to the catalogue through gRPC, timed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bench.catalogue.made import SAE
from bench.measures import quantile
from hearth.v1 import feature_service_pb2 as pb
from hearth.v1 import feature_service_pb2_grpc as pb_grpc
from hearth.v1.steering_pb2 import FeatureKey

T = TypeVar("T")
Ask = Callable[[T], Awaitable[object]]
"""One call."""


class Catalogue:
    """A client of the process under test, which knows messages alone: nothing is decoded further."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: pb_grpc.FeatureServiceAsyncStub = pb_grpc.FeatureServiceStub(channel)
        self._health = health_pb2_grpc.HealthStub(channel)

    async def search(
        self,
        query: str,
        mode: pb.SearchMode.ValueType,
        top_k: int,
        min_steerability: float | None = None,
    ) -> list[int]:
        """The indices of what is found, the best first."""
        only = pb.FeatureFilter(min_steerability=min_steerability)
        request = pb.SearchFeaturesRequest(query=query, sae=SAE, top_k=top_k, filter=only, mode=mode)
        return _indices((await self._stub.SearchFeatures(request)).hits)

    async def neighbors(
        self, indices: Sequence[int], relation: pb.NeighborRelation.ValueType, top_k: int
    ) -> list[int]:
        """The indices of features like these, the nearest first."""
        request = pb.FindNeighborsRequest(keys=_keys(indices), relation=relation, top_k=top_k)
        return _indices((await self._stub.FindNeighbors(request)).hits)

    async def feature(self, index: int, view: pb.FeatureView.ValueType) -> pb.Feature:
        """One feature."""
        request = pb.GetFeatureRequest(key=FeatureKey(sae=SAE, index=index), view=view)
        return (await self._stub.GetFeature(request)).feature

    async def features(self, indices: Sequence[int]) -> int:
        """How many of these features came."""
        request = pb.BatchGetFeaturesRequest(keys=_keys(indices))
        return len((await self._stub.BatchGetFeatures(request)).features)

    async def health(self) -> None:
        """A call that reads nothing: what gRPC in Python takes, on both sides."""
        await self._health.Check(health_pb2.HealthCheckRequest())


def _keys(indices: Sequence[int]) -> list[FeatureKey]:
    return [FeatureKey(sae=SAE, index=index) for index in indices]


def _indices(hits: Iterable[pb.FeatureHit]) -> list[int]:
    return [hit.feature.key.index for hit in hits]


async def one_by_one(ask: Ask[T], items: Iterable[T]) -> list[float]:
    """Seconds of each call; the next begins when the last is answered."""
    seconds = []
    for item in items:
        begun = time.perf_counter()
        await ask(item)
        seconds.append(time.perf_counter() - begun)
    return seconds


async def by_callers(ask: Ask[T], items: Sequence[T], callers: int) -> tuple[list[float], float]:
    """Seconds of each call, where so many callers ask one by one at the same time; and calls a second."""
    begun = time.perf_counter()
    parts = await asyncio.gather(*(one_by_one(ask, items[n::callers]) for n in range(callers)))
    took = time.perf_counter() - begun
    return [seconds for part in parts for seconds in part], len(items) / took


async def all_at_once(ask: Ask[T], items: Iterable[T]) -> float:
    """Seconds until all are answered."""
    begun = time.perf_counter()
    await asyncio.gather(*(ask(item) for item in items))
    return time.perf_counter() - begun


def milliseconds(seconds: Sequence[float]) -> Mapping[str, float]:
    """Half and the slowest hundredth of the calls."""
    return {"p50": 1e3 * quantile(seconds, 0.5), "p99": 1e3 * quantile(seconds, 0.99)}

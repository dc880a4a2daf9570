"""A thin gRPC server in place of Qdrant, whose own binary the tests cannot have.

It answers the methods of Qdrant's Collections and Points protos that services/features/store/server.py calls, out of
qdrant-client's local mode (Qdrant's semantics written anew in Python and numpy, without indices). So it proves that our
client speaks Qdrant's protocol over a real connection and survives the failures that a test asks for; it does not prove
what a Qdrant server makes of the same messages.

Run as a program (`python -m tests.features.store.qdrant_test_server FOLDER PORT DIES_AT`), it keeps its points in a
folder, and kills itself with SIGKILL when it has been given its DIES_AT-th Upsert (0: never), before it answers.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from qdrant_client import AsyncQdrantClient, models
from qdrant_client import grpc as qdrant
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc


class Points(qdrant.PointsServicer):
    """Qdrant's Points service."""

    def __init__(self, local: AsyncQdrantClient, dies_at: int) -> None:
        self._local = local
        self._dies_at = dies_at
        self.upserts = 0
        self.indexed: list[str] = []
        """Payload fields, in the order in which indices were asked for."""

    async def Upsert(self, request: qdrant.UpsertPoints, context: Any) -> qdrant.PointsOperationResponse:
        assert request.wait, "an upsert that is not waited for is not durable when it returns"
        self.upserts += 1
        if self.upserts == self._dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        points = [GrpcToRest.convert_point_struct(point) for point in request.points]
        await self._local.upsert(request.collection_name, points)
        return qdrant.PointsOperationResponse()

    async def Get(self, request: qdrant.GetPoints, context: Any) -> qdrant.GetResponse:
        records = await self._local.retrieve(
            request.collection_name,
            [GrpcToRest.convert_point_id(point_id) for point_id in request.ids],
            GrpcToRest.convert_with_payload_interface(request.with_payload),
            GrpcToRest.convert_with_vectors_selector(request.with_vectors),
        )
        return qdrant.GetResponse(result=map(_retrieved, records))

    async def Scroll(self, request: qdrant.ScrollPoints, context: Any) -> qdrant.ScrollResponse:
        records, _ = await self._local.scroll(
            request.collection_name,
            GrpcToRest.convert_filter(request.filter),
            request.limit,
            GrpcToRest.convert_order_by(request.order_by),
            with_payload=GrpcToRest.convert_with_payload_interface(request.with_payload),
            with_vectors=GrpcToRest.convert_with_vectors_selector(request.with_vectors),
        )
        return qdrant.ScrollResponse(result=map(_retrieved, records))

    async def Count(self, request: qdrant.CountPoints, context: Any) -> qdrant.CountResponse:
        counted = await self._local.count(request.collection_name, GrpcToRest.convert_filter(request.filter))
        return qdrant.CountResponse(result=qdrant.CountResult(count=counted.count))

    async def QueryBatch(self, request: qdrant.QueryBatchPoints, context: Any) -> qdrant.QueryBatchResponse:
        queries = [GrpcToRest.convert_query_points(query) for query in request.query_points]
        for query in queries:
            query.params = None  # the local mode has no indices that they could steer
        answers = await self._local.query_batch_points(request.collection_name, queries)
        found = [[RestToGrpc.convert_scored_point(point) for point in answer.points] for answer in answers]
        return qdrant.QueryBatchResponse(result=[qdrant.BatchResult(result=points) for points in found])

    async def CreateFieldIndex(
        self, request: qdrant.CreateFieldIndexCollection, context: Any
    ) -> qdrant.PointsOperationResponse:
        await self._local.get_collection(
            request.collection_name
        )  # the local mode needs no index, but a collection
        self.indexed.append(request.field_name)
        return qdrant.PointsOperationResponse()


def _retrieved(record: models.Record) -> qdrant.RetrievedPoint:
    record.payload = record.payload or {}  # the conversion takes no None
    return RestToGrpc.convert_record(record)


class Collections(qdrant.CollectionsServicer):
    """Qdrant's Collections service."""

    def __init__(self, local: AsyncQdrantClient) -> None:
        self._local = local
        self.unfinished = 0
        """So many times, a collection's status is that its indices are being built."""

    async def Create(
        self, request: qdrant.CreateCollection, context: Any
    ) -> qdrant.CollectionOperationResponse:
        await self._local.create_collection(
            request.collection_name,
            GrpcToRest.convert_vectors_config(request.vectors_config),
            sparse_vectors_config=GrpcToRest.convert_sparse_vector_config(request.sparse_vectors_config),
        )
        return qdrant.CollectionOperationResponse(result=True)

    async def Delete(
        self, request: qdrant.DeleteCollection, context: Any
    ) -> qdrant.CollectionOperationResponse:
        gone = await self._local.delete_collection(request.collection_name)
        return qdrant.CollectionOperationResponse(result=gone)

    async def List(
        self, request: qdrant.ListCollectionsRequest, context: Any
    ) -> qdrant.ListCollectionsResponse:
        listed = (await self._local.get_collections()).collections
        return qdrant.ListCollectionsResponse(
            collections=[qdrant.CollectionDescription(name=each.name) for each in listed]
        )

    async def CollectionExists(
        self, request: qdrant.CollectionExistsRequest, context: Any
    ) -> qdrant.CollectionExistsResponse:
        exists = await self._local.collection_exists(request.collection_name)
        return qdrant.CollectionExistsResponse(result=qdrant.CollectionExists(exists=exists))

    async def Get(
        self, request: qdrant.GetCollectionInfoRequest, context: Any
    ) -> qdrant.GetCollectionInfoResponse:
        info = await self._local.get_collection(request.collection_name)
        if self.unfinished:
            self.unfinished -= 1
            info.status = models.CollectionStatus.YELLOW
        params = qdrant.CollectionParams(
            vectors_config=RestToGrpc.convert_vectors_config(info.config.params.vectors),
            sparse_vectors_config=RestToGrpc.convert_sparse_vector_config(info.config.params.sparse_vectors),
        )
        return qdrant.GetCollectionInfoResponse(
            result=qdrant.CollectionInfo(
                status=RestToGrpc.convert_collection_status(info.status),
                config=qdrant.CollectionConfig(params=params),
            )
        )

    async def UpdateAliases(
        self, request: qdrant.ChangeAliases, context: Any
    ) -> qdrant.CollectionOperationResponse:
        actions = [GrpcToRest.convert_alias_operations(action) for action in request.actions]
        return qdrant.CollectionOperationResponse(result=await self._local.update_collection_aliases(actions))

    async def ListAliases(
        self, request: qdrant.ListAliasesRequest, context: Any
    ) -> qdrant.ListAliasesResponse:
        listed = (await self._local.get_aliases()).aliases
        return qdrant.ListAliasesResponse(aliases=map(RestToGrpc.convert_alias_description, listed))


class Faults(grpc.aio.ServerInterceptor):
    """What goes wrong with every call, as long as a test wants it to."""

    def __init__(self) -> None:
        self.hold: asyncio.Event | None = None
        """Answers wait for it."""
        self.status: grpc.StatusCode | None = None
        """Instead of an answer."""
        self.retry_after: int | None = None
        """In seconds, told with the status."""
        self.metadata: dict[str, str] = {}
        """That the last call brought."""

    async def intercept_service(
        self, continuation: Callable[..., Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        handler = await continuation(details)
        self.metadata = {key: str(value) for key, value in details.invocation_metadata}

        async def answer(request: Any, context: Any) -> Any:
            if self.hold is not None:
                await self.hold.wait()
            if self.status is not None:
                told = (("retry-after", str(self.retry_after)),) if self.retry_after is not None else ()
                await context.abort(self.status, "as the test wants it", told)
            try:
                return await handler.unary_unary(request, context)
            except ValueError as problem:  # all that the local mode raises
                missing = "not found" in str(problem)
                code = grpc.StatusCode.NOT_FOUND if missing else grpc.StatusCode.INVALID_ARGUMENT
                await context.abort(code, str(problem))

        return grpc.unary_unary_rpc_method_handler(
            answer, handler.request_deserializer, handler.response_serializer
        )


class QdrantTestServer:
    """The server; what it holds outlives a stop, as on a disk."""

    def __init__(self, folder: str | None = None, dies_at: int = 0) -> None:
        self._local = AsyncQdrantClient(path=folder) if folder else AsyncQdrantClient(":memory:")
        self.points = Points(self._local, dies_at)
        self.collections = Collections(self._local)
        self.faults = Faults()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, port: int = 0) -> None:
        """Listens on a free port, the second time on the same one."""
        self._server = grpc.aio.server(interceptors=[self.faults], options=[("grpc.so_reuseport", 0)])
        qdrant.add_PointsServicer_to_server(self.points, self._server)
        qdrant.add_CollectionsServicer_to_server(self.collections, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port or self.port}")
        await self._server.start()

    async def stop(self) -> None:
        """Breaks off the calls that run, and listens no more."""
        await self._server.stop(grace=None)

    async def wait(self) -> None:
        """Until it is stopped."""
        await self._server.wait_for_termination()


async def main(folder: str, port: int, dies_at: int) -> None:
    server = QdrantTestServer(folder, dies_at)
    await server.start(port)
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    await server.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))

"""Claims about who may call a gRPC process, and on whose behalf: over a real connection, with a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from hearth.v1 import feature_service_pb2 as features
from hearth.v1 import feature_service_pb2_grpc, inference_service_pb2_grpc
from hearth.v1 import inference_service_pb2 as pb
from services.errors import Reason
from services.keys.book import KeyBook
from services.keys.book import opened as book_of
from services.keys.key import Quotas
from services.keys.opening import opened
from services.keys.settings import AccessSettings, KeysSettings
from services.rpc.calls import OWNER_KEY, owner
from services.rpc.channel import RpcFailure, connect, rpc_failures
from services.rpc.server import RunningServer, ServerSettings, serve
from services.rpc.tls import TlsSettings
from tests.rpc.authority import HERE, Authority

INFERENCE, FEATURES = "hearth.v1.InferenceService", "hearth.v1.FeatureService"


class Inference(inference_service_pb2_grpc.InferenceServiceServicer):
    """Answers with the owner's name for a model's, and with texts of 10 tokens."""

    async def ListModels(self, request: pb.ListModelsRequest, context: object) -> pb.ListModelsResponse:
        return pb.ListModelsResponse(models=[pb.Model(id=owner(context))])  # type: ignore[arg-type]

    async def Generate(
        self, request: pb.GenerateRequest, context: object
    ) -> AsyncIterator[pb.GenerateResponse]:
        yield pb.GenerateResponse(started=pb.GenerationStarted(prompt_tokens=4))
        yield pb.GenerateResponse(delta=pb.GenerationDelta(token_ids=[1] * 6))


class Features(feature_service_pb2_grpc.FeatureServiceServicer):
    """Deletes nothing."""

    async def DeleteCatalog(
        self, request: features.DeleteCatalogRequest, context: object
    ) -> features.DeleteCatalogResponse:
        return features.DeleteCatalogResponse()


@asynccontextmanager
async def served(access: AccessSettings, tls: TlsSettings | None = None) -> AsyncIterator[RunningServer]:
    async with opened(access) as authenticator:
        server = await serve(
            {
                INFERENCE: lambda s: inference_service_pb2_grpc.add_InferenceServiceServicer_to_server(
                    Inference(), s
                ),
                FEATURES: lambda s: feature_service_pb2_grpc.add_FeatureServiceServicer_to_server(
                    Features(), s
                ),
            },
            ServerSettings(tls=tls),
            handle_signals=False,
            authenticator=authenticator,
        )
        yield server
        await server.drain()


@pytest.fixture
async def book(tmp_path: Path) -> AsyncIterator[KeyBook]:
    async with book_of(KeysSettings(data_dir=tmp_path)) as book:
        yield book


@pytest.fixture
def access(tmp_path: Path) -> AccessSettings:
    return AccessSettings(database_url=KeysSettings(data_dir=tmp_path).sql, seconds=0)


async def who(channel: grpc.aio.Channel, claimed: str = "") -> str:
    """On whose behalf the server takes a call to be made."""
    stub: inference_service_pb2_grpc.InferenceServiceAsyncStub = (
        inference_service_pb2_grpc.InferenceServiceStub(channel)
    )
    metadata = ((OWNER_KEY, claimed),) if claimed else ()
    with rpc_failures():
        return (await stub.ListModels(pb.ListModelsRequest(), metadata=metadata)).models[0].id


async def generated(channel: grpc.aio.Channel) -> int:
    stub: inference_service_pb2_grpc.InferenceServiceAsyncStub = (
        inference_service_pb2_grpc.InferenceServiceStub(channel)
    )
    with rpc_failures():
        return len([answer async for answer in stub.Generate(pb.GenerateRequest())])


async def test_a_key_opens_for_its_owner_alone_until_it_is_revoked(
    book: KeyBook, access: AccessSettings
) -> None:
    key, secret = await book.keyring.create("ann", "", Quotas())
    async with served(access) as server, connect(server.address, key=secret) as channel:
        assert await who(channel) == await who(channel, "ann") == "ann"
        with pytest.raises(RpcFailure) as forged:
            await who(channel, "bob")
        assert (forged.value.code, forged.value.reason) == (
            grpc.StatusCode.PERMISSION_DENIED,
            Reason.NOT_ALLOWED,
        )
        await book.keyring.revoke(key.id)
        with pytest.raises(RpcFailure, match="UNAUTHENTICATED"):
            await who(channel)


@pytest.mark.parametrize("key", ["", "dev", "hearth-guessed"])
async def test_without_a_key_that_was_made_nothing_opens(key: str, access: AccessSettings) -> None:
    async with served(access) as server, connect(server.address, key=key) as channel:
        with pytest.raises(RpcFailure) as failed:
            await who(channel, "ann")
    assert (failed.value.code, failed.value.reason) == (grpc.StatusCode.UNAUTHENTICATED, Reason.KEY_REFUSED)


async def test_requests_over_a_keys_quota_are_refused_with_the_time_to_wait(
    book: KeyBook, access: AccessSettings
) -> None:
    _, secret = await book.keyring.create("ann", "", Quotas(requests_per_minute=2))
    async with served(access) as server, connect(server.address, key=secret) as channel:
        assert [await who(channel), await who(channel)] == ["ann", "ann"]
        with pytest.raises(RpcFailure) as failed:
            await who(channel)
    assert (failed.value.code, failed.value.reason) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        Reason.QUOTA_EXCEEDED,
    )
    assert failed.value.retry_after is not None
    assert 0 < failed.value.retry_after <= 30


async def test_tokens_of_prompts_and_answers_count_against_the_day(
    book: KeyBook, access: AccessSettings
) -> None:
    _, secret = await book.keyring.create("ann", "", Quotas(tokens_per_day=20))
    async with served(access) as server, connect(server.address, key=secret) as channel:
        assert [await generated(channel), await generated(channel)] == [2, 2]
        with pytest.raises(RpcFailure) as failed:
            await generated(channel)
    assert failed.value.reason is Reason.QUOTA_EXCEEDED
    assert [used for _, used in await book.all()] == [20]


async def test_no_key_imports_or_deletes_what_all_see(book: KeyBook, access: AccessSettings) -> None:
    _, secret = await book.keyring.create("ann", "", Quotas())
    trusting = access.model_copy(update={"trusted": frozenset({"loopback"})})
    for settings, key, allowed in ((access, secret, False), (trusting, secret, False), (trusting, "", True)):
        async with served(settings) as server, connect(server.address, key=key) as channel:
            stub: feature_service_pb2_grpc.FeatureServiceAsyncStub = (
                feature_service_pb2_grpc.FeatureServiceStub(channel)
            )
            call = stub.DeleteCatalog(features.DeleteCatalogRequest())
            if allowed:
                await call
                continue
            with pytest.raises(RpcFailure, match="PERMISSION_DENIED"), rpc_failures():
                await call


async def test_only_a_trusted_certificate_may_name_the_owner(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    access = AccessSettings(trusted=frozenset({"gateway"}))
    async with served(access, authority.settings("inference", *HERE)) as server:
        async with connect(server.address, tls=authority.settings("gateway")) as channel:
            assert await who(channel, "ann") == "ann"
        for name in ("envoy", "gateway.evil"):
            async with connect(server.address, tls=authority.settings(name)) as channel:
                with pytest.raises(RpcFailure, match="UNAUTHENTICATED"):
                    await who(channel, "ann")


async def test_without_settings_everybody_is_believed() -> None:
    async with served(AccessSettings()) as server, connect(server.address) as channel:
        assert await who(channel, "ann") == "ann"

"""The whole platform in this process, small: inference over a tiny random model, a catalogue of forty features, saved
variants, auto-steer with a worker, and the gateway before them. Each speaks real gRPC or HTTP on a free port."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from hearth.v1.autosteer_service_pb2_grpc import add_AutoSteerServiceServicer_to_server
from hearth.v1.feature_service_pb2_grpc import add_FeatureServiceServicer_to_server
from hearth.v1.inference_service_pb2_grpc import add_InferenceServiceServicer_to_server
from hearth.v1.variant_service_pb2_grpc import add_VariantServiceServicer_to_server
from services.autosteer.clients.connections import clients_of
from services.autosteer.creation import Creation
from services.autosteer.database.schema import MIGRATIONS as JOBS
from services.autosteer.events import EventLog
from services.autosteer.leases import Leases
from services.autosteer.ledger import Ledger, QueueLimits
from services.autosteer.running import Runner, pipeline_drive
from services.autosteer.servicer import AutoSteerServicer
from services.autosteer.suggesting import Suggesting
from services.database.database import Database
from services.database.settings import DatabaseSettings
from services.features.servicer import FeatureServicer
from services.features.variants import Variants
from services.features.variants_servicer import VariantsServicer
from services.gateway.__main__ import opened as gateway_opened
from services.gateway.app import create_app
from services.gateway.gateway import Gateway
from services.gateway.serving import listen, server_of
from services.gateway.settings import GatewaySettings
from services.inference.engine import EngineLimits
from services.inference.host import Identity, ModelHost
from services.inference.hosts import Hosts
from services.inference.servicer import InferenceServicer
from services.inference.tokenizer import Tokenizer
from services.keys.database.schema import MIGRATIONS as KEYS
from services.keys.key import Quotas
from services.keys.keyring import Keyring
from services.rpc.server import Registration, RunningServer, ServerSettings, serve
from tests.autosteer.made import bag_of_words
from tests.autosteer.tiny_platform import write_tokenizer
from tests.features.conftest import opened_in
from tests.features.made_features import WordEncoder, feature, import_features
from tests.inference.tiny import tiny

T = TypeVar("T")
MODEL, SAE, FEATURES = "tiny", "relu", 40
END = 2
"""The token that ends an answer."""


@dataclass
class Light:
    """What the tests use of it. All methods may be called from any thread but the loop's own."""

    loop: asyncio.AbstractEventLoop
    folder: Path
    settings: GatewaySettings
    gateway: Gateway
    keyring: Keyring
    url: str
    serve_inference: Callable[[int], Coroutine[Any, Any, RunningServer]]
    inference: RunningServer
    host: ModelHost
    model: str = MODEL
    sae: str = SAE
    features: int = FEATURES
    clients: list[httpx.Client] = field(default_factory=list)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine returns that runs on the platform's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(120)

    def key(
        self, owner: str = "ann", requests_per_minute: int | None = None, tokens_per_day: int | None = None
    ) -> str:
        """A new key."""
        quotas = Quotas(requests_per_minute, tokens_per_day)
        return self.call(self.keyring.create(owner, "a test's", quotas))[1]

    def client(self, key: str = "dev") -> httpx.Client:
        """A client that sends a key; none where it is empty."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        made = httpx.Client(base_url=self.url, headers=headers, timeout=60)
        self.clients.append(made)
        return made

    @contextmanager
    def without_inference(self) -> Iterator[None]:
        """Inference is gone, and afterwards back on the same port."""
        port = self.inference.port
        self.call(self.inference.drain())
        try:
            yield
        finally:
            self.inference = self.call(self.serve_inference(port))


@contextmanager
def light_in(folder: Path, **settings: Any) -> Iterator[Light]:
    """The platform while it lasts, on a loop in a thread of its own; `settings` are the gateway's."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="light", daemon=True)
    thread.start()
    stack = AsyncExitStack()

    def call(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result(120)

    light = call(stack.enter_async_context(_opened(folder, settings)))
    try:
        yield light
    finally:
        for client in light.clients:
            client.close()
        call(stack.aclose())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


@asynccontextmanager
async def _opened(folder: Path, settings: dict[str, Any]) -> AsyncIterator[Light]:
    async with AsyncExitStack() as stack:
        host = _host(folder)
        host.engine.start()
        stack.callback(host.engine.stop)
        hosts = Hosts()
        hosts.add(host)

        async def serve_inference(port: int) -> RunningServer:
            servicer = InferenceServicer(hosts)
            return await _served(
                port,
                {"hearth.v1.InferenceService": lambda s: add_InferenceServiceServicer_to_server(servicer, s)},
            )

        inference = await serve_inference(0)
        features = await _features(folder / "features", stack)
        autosteer = await _autosteer(folder, inference.address, features.address, stack)
        chosen = GatewaySettings(
            port=0,
            data_dir=folder / "gateway",
            inference=inference.address,
            features=features.address,
            autosteer=autosteer.address,
            model_aliases={"an-old-name": MODEL},
            models_seconds=0,
            key_seconds=0,
            drain_seconds=1,
            **settings,
        )
        gateway, keys = await stack.enter_async_context(gateway_opened(chosen))
        await keys.upgrade(KEYS)
        listening = stack.enter_context(listen(chosen))
        server = server_of(create_app(gateway), chosen)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        light = Light(
            asyncio.get_running_loop(),
            folder,
            chosen,
            gateway,
            Keyring(keys),
            url,
            serve_inference,
            inference,
            host,
        )
        yield light
        server.should_exit = True
        await serving
        await light.inference.drain()


def _host(folder: Path) -> ModelHost:
    model = tiny()
    tokenizer = Tokenizer(write_tokenizer(folder / "tokenizer"))
    identity = Identity(MODEL, "0" * 64, tokenizer.digest, "cpu")
    return ModelHost(identity, model.model, tokenizer, [model.saes[SAE]], EngineLimits(), frozenset({END}))


async def _features(folder: Path, stack: AsyncExitStack) -> RunningServer:
    opened = await stack.enter_async_context(opened_in(folder, WordEncoder().load))
    await import_features(
        opened.catalogue, [feature(n, SAE, density=0.001 * (n + 1)) for n in range(FEATURES)]
    )
    servicers = FeatureServicer(opened.catalogue), VariantsServicer(Variants(opened.database))
    server = await _served(
        0,
        {
            "hearth.v1.FeatureService": lambda s: add_FeatureServiceServicer_to_server(servicers[0], s),
            "hearth.v1.VariantService": lambda s: add_VariantServiceServicer_to_server(servicers[1], s),
        },
    )
    stack.push_async_callback(server.drain)
    return server


async def _autosteer(folder: Path, inference: str, features: str, stack: AsyncExitStack) -> RunningServer:
    """The server, and a worker that a message of the server's wakes."""
    database = Database(DatabaseSettings(f"sqlite:///{folder / 'jobs.db'}"))
    stack.push_async_callback(database.close)
    await database.upgrade(JOBS)
    inference_of, catalogue = await stack.enter_async_context(clients_of(inference, features))
    awake = asyncio.Event()

    async def announce() -> None:
        awake.set()

    async def encode() -> Any:
        return bag_of_words

    runner = Runner(
        database,
        Leases(database, 30.0),
        pipeline_drive(inference_of, catalogue, encode, ""),
        quick_at_once=1,
        slow_at_once=2,
        poll_seconds=0.05,
    )

    async def work() -> None:
        while True:
            await awake.wait()
            awake.clear()
            while await runner.one():
                pass

    working = asyncio.create_task(work())
    stack.callback(working.cancel)
    stack.callback(runner.stop)
    ledger = Ledger(database, QueueLimits(50, 20))
    servicer = AutoSteerServicer(
        Creation(ledger, inference_of, announce),
        ledger,
        EventLog(database, 0.05),
        Suggesting(inference_of, catalogue, encode),
    )
    server = await _served(
        0, {"hearth.v1.AutoSteerService": lambda s: add_AutoSteerServiceServicer_to_server(servicer, s)}
    )
    stack.push_async_callback(server.drain)
    return server


async def _served(port: int, services: dict[str, Registration]) -> RunningServer:
    return await serve(services, ServerSettings(port=port, drain_seconds=0), handle_signals=False)

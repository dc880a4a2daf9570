"""Inference and features in this process, over real gRPC: a tiny random model whose tokens are words, with one SAE, and
the catalogue of its features."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import grpc
from tokenizers import Tokenizer as BackendTokenizer
from tokenizers import decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from hearth.v1.feature_service_pb2_grpc import add_FeatureServiceServicer_to_server
from hearth.v1.inference_service_pb2_grpc import add_InferenceServiceServicer_to_server
from services.autosteer.clients.features import CatalogueClient
from services.autosteer.clients.inference import InferenceClient
from services.features.servicer import FeatureServicer
from services.inference.engine import EngineLimits
from services.inference.host import Identity, ModelHost
from services.inference.hosts import Hosts
from services.inference.servicer import InferenceServicer
from services.inference.tokenizer import Tokenizer
from services.rpc.channel import connect
from services.rpc.server import RunningServer, ServerSettings, serve
from tests.features.conftest import opened_in
from tests.features.made_features import TOPICS, WordEncoder, feature, import_features
from tests.inference.tiny import VOCABULARY, tiny

SAE = "relu"
FEATURES = 40
BEHAVIOR = "write about the sea and ships"
_SPECIAL = ["<unk>", "<|im_start|>", "<|im_end|>"]
_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }} {{ m.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant {% endif %}"
)


@cache
def words() -> list[str]:
    """As many words as the tiny model has tokens left: those of the features' topics, and made ones."""
    listed = dict.fromkeys(word for topic in TOPICS for text in topic for word in text.split())
    generator = random.Random(0)
    while len(listed) < VOCABULARY - len(_SPECIAL):
        listed["".join(generator.choice(("ba", "do", "ki", "lu", "me", "ro", "sa")) for _ in range(3))] = None
    return list(listed)


def write_tokenizer(folder: Path) -> Path:
    """A tokenizer of whole words with a chat template."""
    vocabulary = {name: n for n, name in enumerate([*_SPECIAL, *(f"\u2581{word}" for word in words())])}
    backend = BackendTokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="<unk>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
    )
    made.chat_template = _TEMPLATE
    made.save_pretrained(folder)
    return folder


@dataclass
class Platform:
    """Both services, and clients of them."""

    host: ModelHost
    servers: list[RunningServer]
    channels: list[grpc.aio.Channel]
    encoder: WordEncoder

    @property
    def inference(self) -> InferenceClient:
        """A client for one job."""
        return InferenceClient(self.channels[0], "ann")

    @property
    def catalogue(self) -> CatalogueClient:
        """A client of the catalogue."""
        return CatalogueClient(self.channels[1])


@asynccontextmanager
async def platform_in(folder: Path, ports: tuple[int, int] = (0, 0)) -> AsyncIterator[Platform]:
    """Both services while it lasts."""
    model = tiny()
    tokenizer = Tokenizer(write_tokenizer(folder / "tokenizer"))
    identity = Identity("tiny", "0" * 64, tokenizer.digest, "cpu")
    host = ModelHost(
        identity,
        model.model,
        tokenizer,
        [model.saes[SAE]],
        EngineLimits(),
        frozenset({_SPECIAL.index("<|im_end|>")}),
    )
    host.engine.start()
    hosts, encoder = Hosts(), WordEncoder()
    hosts.add(host)
    async with AsyncExitStack() as stack:
        stack.callback(host.engine.stop)
        opened = await stack.enter_async_context(opened_in(folder / "features", encoder.load))
        scales = model.saes[SAE].scales
        assert scales is not None
        await import_features(
            opened.catalogue,
            [feature(n, SAE, density=0.001 * (n + 1), scale=float(scales[n])) for n in range(FEATURES)],
        )
        servicers = InferenceServicer(hosts), FeatureServicer(opened.catalogue)
        servers = [
            await serve(
                {
                    "hearth.v1.InferenceService": lambda s: add_InferenceServiceServicer_to_server(
                        servicers[0], s
                    )
                },
                ServerSettings(port=ports[0], drain_seconds=0),
                handle_signals=False,
            ),
            await serve(
                {"hearth.v1.FeatureService": lambda s: add_FeatureServiceServicer_to_server(servicers[1], s)},
                ServerSettings(port=ports[1], drain_seconds=0),
                handle_signals=False,
            ),
        ]
        channels = [await stack.enter_async_context(connect(server.address)) for server in servers]
        yield Platform(host, servers, channels, encoder)
        for server in servers:
            await server.drain()

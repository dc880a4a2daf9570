"""The real features services on a loopback port, in a thread of their own, on a temporary folder; only the sentence
encoder is one made for tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hearth.v1.feature_service_pb2_grpc import add_FeatureServiceServicer_to_server
from hearth.v1.variant_service_pb2_grpc import add_VariantServiceServicer_to_server
from services.features.catalogue import Catalogue
from services.features.feature import Catalog, Feature
from services.features.servicer import FeatureServicer
from services.features.variants import Variants
from services.features.variants_servicer import VariantsServicer
from services.rpc.server import RunningServer, ServerSettings, serve
from tests.cli.loops import Wait, loop_in_thread
from tests.features.conftest import opened_in
from tests.features.made_features import WordEncoder, import_features, shown


@dataclass
class FeaturesServer:
    """A running catalogue."""

    address: str
    catalogue: Catalogue
    encoder: WordEncoder
    wait: Wait

    def fill(self, features: Sequence[Feature]) -> Catalog:
        """Imports features without the command line."""
        return self.wait(import_features(self.catalogue, features))

    def feature(self, index: int, sae: str) -> Feature:
        """A feature as the catalogue has it."""
        return self.wait(shown(self.catalogue, index, sae))


@contextmanager
def features_running(
    folder: Path, servicer: type[FeatureServicer] = FeatureServicer
) -> Iterator[FeaturesServer]:
    """The server; `servicer` may fail in ways of its own."""
    encoder = WordEncoder()
    stack = AsyncExitStack()

    async def start() -> tuple[RunningServer, Catalogue]:
        opened = await stack.enter_async_context(opened_in(folder, encoder.load))
        features, variants = servicer(opened.catalogue), VariantsServicer(Variants(opened.database))
        server = await serve(
            {
                "hearth.v1.FeatureService": lambda s: add_FeatureServiceServicer_to_server(features, s),
                "hearth.v1.VariantService": lambda s: add_VariantServiceServicer_to_server(variants, s),
            },
            ServerSettings(drain_seconds=0),
            handle_signals=False,
        )
        return server, opened.catalogue

    with loop_in_thread() as wait:
        server, catalogue = wait(start())
        try:
            yield FeaturesServer(server.address, catalogue, encoder, wait)
        finally:
            wait(server.drain())
            wait(stack.aclose())

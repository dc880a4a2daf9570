"""The platform as `hearth up` runs it: inference, features, auto-steer with broker and worker, and the gateway."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from services.autosteer.broker import broker_command
from services.autosteer.settings import AutoSteerSettings
from services.cli.clients.features import FeatureClient
from services.cli.clients.health import is_serving
from services.cli.clients.inference import InferenceClient
from services.cli.failures import fail
from services.cli.importing.first import import_all
from services.cli.metering import metered, metrics_ports, told
from services.cli.ports import free_port, port_problem, reachable
from services.cli.render.console import console, error_console
from services.cli.render.logs import LogLines
from services.cli.render.welcome import Served, welcome
from services.cli.serving import environment_of, variable
from services.cli.showcase import showpieces
from services.cli.supervisor import Child, ChildDied, Supervisor
from services.encoder.minilm import ensure_minilm
from services.features.settings import FeaturesSettings
from services.fetched.errors import SetupError
from services.gateway.settings import GatewaySettings
from services.inference.embedded import EMBEDDED_MODEL_ID, ensure_embedded_model
from services.inference.settings import MODELS_DIR, InferenceSettings
from services.rpc.channel import RpcFailure
from services.rpc.telemetry import TelemetrySettings
from services.rpc.tls import TlsFiles, TlsSettings

METERED = ("inference", "features", "autosteer", "worker", "gateway")
"""The processes that have metrics, in the order of their ports."""
GRACE_SECONDS = 5.0
"""How much longer than its own drain a process may take to end."""


def start(
    inference: InferenceSettings,
    features: FeaturesSettings,
    autosteer: AutoSteerSettings,
    gateway: GatewaySettings,
    telemetry: TelemetrySettings,
) -> None:
    """Makes model and encoder ready, starts all processes and runs them until Ctrl-C."""
    began = time.monotonic()
    _require_tls(gateway.tls)
    _require_port(inference.host, inference.port, "--port")
    _require_port(features.host, features.port, "--features-port")
    inference = inference.model_copy(update={"port": inference.port or free_port(inference.host)})
    features = features.model_copy(update={"port": features.port or free_port(features.host)})
    _require_port(autosteer.host, autosteer.port, "--autosteer-port")
    autosteer = autosteer.model_copy(update={"port": autosteer.port or free_port(autosteer.host)})
    _require_port(gateway.host, gateway.port, "--gateway-port", "http://")
    gateway = gateway.model_copy(update={"port": gateway.port or free_port(gateway.host)})
    ports = metrics_ports(telemetry, METERED)
    _prepare(inference, features)
    notes = told(telemetry, ports)
    platform = _Platform(inference, features, autosteer, gateway, ports, notes, console(), began)
    try:
        asyncio.run(platform.run())
    except ChildDied as death:
        fail(f"{death}.", "Its last lines above say why. Everything else was stopped.")
    platform.out.print("Stopped.", style="dim")


@dataclass(frozen=True, slots=True)
class _Platform:
    inference: InferenceSettings
    features: FeaturesSettings
    autosteer: AutoSteerSettings
    gateway: GatewaySettings
    metrics_ports: dict[str, int]
    notes: list[str]
    """What is said at the start beside the rest."""
    out: Console
    began: float

    @property
    def inference_address(self) -> str:
        return f"{reachable(self.inference.host)}:{self.inference.port}"

    @property
    def features_address(self) -> str:
        return f"{reachable(self.features.host)}:{self.features.port}"

    @property
    def autosteer_address(self) -> str:
        return f"{reachable(self.autosteer.host)}:{self.autosteer.port}"

    @property
    def gateway_address(self) -> str:
        return f"http://{reachable(self.gateway.host)}:{self.gateway.port}"

    async def run(self) -> None:
        """Returns when it was stopped."""
        children = [
            Child(
                "inference",
                (sys.executable, "-m", "services.inference"),
                self.inference_address,
                environment_of(self.inference),
                restarts_once_ready=True,
            ),
            Child(
                "features",
                (sys.executable, "-m", "services.features"),
                self.features_address,
                environment_of(self.features, {"host", "port"}),
                restarts_once_ready=True,
            ),
            *self._autosteer(),
            self._gateway(),
        ]
        children = metered(children, self.metrics_ports)
        logs = LogLines(self.out, [child.name for child in children])
        settings = (self.inference, self.features, self.autosteer, self.gateway)
        drain = max(each.drain_seconds for each in settings) + GRACE_SECONDS
        loading = "Loading the model, its SAEs and the sentence encoder; some seconds"
        with self.out.status(loading) as status:

            async def ready() -> None:
                status.stop()
                await self.greet()

            await Supervisor(children, is_serving, logs.show, ready, drain).run()

    def _autosteer(self) -> list[Child]:
        """Its broker, unless another one is named, its server and its worker. Each goes on where it was killed."""
        environment = environment_of(self.autosteer, {"host", "port"}) | {
            variable(AutoSteerSettings, "inference"): self.inference_address,
            variable(AutoSteerSettings, "features"): self.features_address,
        }
        server = (sys.executable, "-m", "services.autosteer")
        worker = (sys.executable, "-m", "services.autosteer.worker")
        children = [
            Child("autosteer", server, self.autosteer_address, environment, restarts=True),
            Child("worker", worker, "", environment, restarts=True),
        ]
        if self.autosteer.redis_url.get_secret_value():
            return children
        try:
            return [Child("broker", broker_command(self.autosteer), "", restarts=True), *children]
        except (OSError, RuntimeError) as problem:
            fail(f"{problem}.")

    def _gateway(self) -> Child:
        environment = environment_of(self.gateway, {"host", "port"}) | {
            variable(GatewaySettings, "inference"): self.inference_address,
            variable(GatewaySettings, "features"): self.features_address,
            variable(GatewaySettings, "autosteer"): self.autosteer_address,
        }
        command = (sys.executable, "-m", "services.gateway")
        return Child("gateway", command, self.gateway_address, environment, restarts_once_ready=True)

    async def greet(self) -> None:
        """Imports features that are not in the catalogue yet, and says what to try."""
        folders = _sae_folders(self.inference)
        async with InferenceClient(self.inference_address) as client:
            models = await client.models()
        served = {sae.id: sae.weights_digest for model in models for sae in model.saes}
        notes = await import_all(folders, served, self.features_address, self.out)
        searchable = await _searchable(self.features_address, served)
        text = welcome(
            Served(
                models,
                self.inference_address,
                self.features_address,
                self.autosteer_address,
                searchable,
                [*self.notes, *notes],
                self.gateway_address,
                has_dev_key=self.gateway.accepts_dev_key,
            ),
            showpieces(folders),
            command=command_as_typed(),
            seconds=time.monotonic() - self.began,
        )
        self.out.print(text, soft_wrap=True)


async def _searchable(address: str, served: dict[str, str]) -> int:
    """The number of features that can be searched, of SAEs that are served with these weights."""
    async with FeatureClient(address) as client:
        try:
            catalogs = await client.catalogs()
        except RpcFailure:
            return 0
    return sum(each.feature_count for each in catalogs if served.get(each.sae) == each.weights_digest)


def _require_tls(settings: TlsSettings) -> None:
    try:
        TlsFiles(settings)
    except OSError as problem:
        fail(f"Cannot speak TLS: {problem}.", "HEARTH_TLS_* are described in docs/security.md.")


def _require_port(host: str, port: int, option: str, scheme: str = "") -> None:
    problem = port_problem(host, port)
    if not problem:
        return
    address = f"{reachable(host)}:{port}"
    choice = f"{option} (make up {option.removeprefix('--').replace('-', '_').upper()}=...)"
    if asyncio.run(is_serving(scheme + address, 0.5)):
        use = f"open {scheme}{address}" if scheme else f"`hearth models --address {address}`"
        fail(f"Hearth runs already on port {port}.", f"Use it ({use}), or start another one with {choice}.")
    fail(problem, f"Choose another one with {choice}.")


def _prepare(inference: InferenceSettings, features: FeaturesSettings) -> None:
    try:
        if inference.model == EMBEDDED_MODEL_ID:
            ensure_embedded_model(progress=True)
        if features.encoder is None:
            _prepare_encoder()
    except SetupError as error:
        fail(error.message)
    except KeyboardInterrupt:
        fail("Stopped while the models were made ready.", "Nothing is lost: run the same command again.")


def _prepare_encoder() -> None:
    """Without the encoder only searches by meaning are missing: steering works."""
    try:
        ensure_minilm(progress=True)
    except SetupError as error:
        error_console().print("[yellow]warning:[/yellow] there will be no search by meaning:", end=" ")
        error_console().print(error.message, markup=False)


def _sae_folders(settings: InferenceSettings) -> list[Path]:
    """Where the served SAEs' files lie."""
    if settings.saes is not None:
        return [Path(path) for path in settings.saes]
    if settings.model != EMBEDDED_MODEL_ID:
        return []
    return sorted(path.parent for path in MODELS_DIR.rglob("cfg.json"))


def command_as_typed() -> str:
    """How this command is called: by its name where the shell finds it, else by its path, as short as from here."""
    path = Path(sys.argv[0])
    found = shutil.which(path.name)
    if found is not None and Path(found).resolve() == path.resolve():
        return path.name
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)

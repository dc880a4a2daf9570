"""The platform as `hearth up` runs it: today the inference service, later every other process too."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from pathlib import Path

from services.cli.clients.health import is_serving
from services.cli.clients.inference import InferenceClient
from services.cli.failures import fail
from services.cli.ports import free_port, port_problem, reachable
from services.cli.render.console import console
from services.cli.render.logs import LogLines
from services.cli.render.welcome import welcome
from services.cli.serving import environment_of
from services.cli.showcase import showpieces
from services.cli.supervisor import Child, ChildDied, Supervisor
from services.fetched.errors import SetupError
from services.inference.embedded import EMBEDDED_MODEL_ID, ensure_embedded_model
from services.inference.settings import MODELS_DIR, InferenceSettings

GRACE_SECONDS = 5.0
"""How much longer than its own drain a process may take to end."""


def start(settings: InferenceSettings) -> None:
    """Makes the model ready, starts all processes and runs them until Ctrl-C."""
    began = time.monotonic()
    _require_port(settings.host, settings.port)
    settings = settings.model_copy(update={"port": settings.port or free_port(settings.host)})
    address = f"{reachable(settings.host)}:{settings.port}"
    _prepare_model(settings.model)
    out = console()
    inference = Child(
        "inference",
        (sys.executable, "-m", "services.inference"),
        address,
        environment_of(settings),
    )
    logs = LogLines(out, [inference.name])
    status = out.status("Loading the model and its SAEs; a few seconds")

    async def ready() -> None:
        async with InferenceClient(address) as client:
            models = await client.models()
        status.stop()
        pieces, seconds = showpieces(_sae_folders(settings)), time.monotonic() - began
        out.print(
            welcome(models, address, pieces, command=command_as_typed(), seconds=seconds), soft_wrap=True
        )

    supervisor = Supervisor([inference], is_serving, logs.show, ready, settings.drain_seconds + GRACE_SECONDS)
    try:
        with status:
            asyncio.run(supervisor.run())
    except ChildDied as death:
        fail(f"{death}.", "Its last lines above say why. Everything else was stopped.")
    out.print("Stopped.", style="dim")


def _require_port(host: str, port: int) -> None:
    problem = port_problem(host, port)
    if not problem:
        return
    address = f"{reachable(host)}:{port}"
    if asyncio.run(is_serving(address, 0.5)):
        fail(
            f"Hearth runs already on port {port}.",
            f"Use it (`hearth models --address {address}`), or start another one with --port (make up PORT=...).",
        )
    fail(problem, "Choose another one with --port (make up PORT=...).")


def _prepare_model(model: str) -> None:
    if model != EMBEDDED_MODEL_ID:
        return
    try:
        ensure_embedded_model(progress=True)
    except SetupError as error:
        fail(error.message)
    except KeyboardInterrupt:
        fail("Stopped while the model was made ready.", "Nothing is lost: run the same command again.")


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

"""What `hearth features import` does, and the import of `hearth up`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console

from services.cli.calling import INTERRUPTED
from services.cli.clients.health import is_serving
from services.cli.clients.imports import ImportClient
from services.cli.clients.inference import InferenceClient
from services.cli.failures import fail, fail_with
from services.cli.importing.source import FeatureSource
from services.cli.importing.upload import Imported, upload
from services.cli.render.console import console, error_console, print_json
from services.cli.render.progress import counting
from services.fetched.errors import SetupError
from services.inference.sae.errors import SaeError
from services.inference.settings import MODELS_DIR
from services.rpc.channel import RpcFailure
from services.saelab.errors import ImportRefused, SaeLabError

_GO_ON = "Run the same command again: it goes on where it stopped."
_PROBE_SECONDS = 1.0


def run_import(folder: Path | None, address: str, inference: str, *, restart: bool, as_json: bool) -> None:
    """Imports a folder's features and says what came of it."""
    with told():
        source = FeatureSource(folder or embedded_folder())

        async def work() -> Imported:
            if served := await served_digest(inference, source.catalog.sae):
                require_served(source, served)
            return await import_source(source, address, error_console(), restart=restart)

        try:
            done = asyncio.run(work())
        except RpcFailure as failure:
            fail_with(failure, address)
    if as_json:
        print_json(done)
    else:
        console().print(outcome(done), markup=False)


async def import_source(
    source: FeatureSource, address: str, out: Console, *, restart: bool = False
) -> Imported:
    """Imports the features of a source with a progress bar on a console. Raises what upload raises."""
    async with ImportClient(address) as client:
        with counting(out, "features") as progress:
            task = progress.add_task("Reading the SAE", total=None)

            def report(stored: int, of: int) -> None:
                progress.update(task, description="Importing features", completed=stored, total=of)

            done = await upload(client, source, report, restart=restart)
            if done.was_complete:
                progress.update(task, visible=False)
            return done


def outcome(done: Imported) -> str:
    """What an import came to, in a line."""
    what = f"{done.catalog.feature_count:,} features of {done.catalog.sae}"
    if done.was_complete:
        return f"{what} are in the catalogue already."
    went_on = f", from feature {done.resumed_at} on" if done.resumed_at else ""
    return f"{what} imported{went_on}."


def require_served(source: FeatureSource, served: str) -> None:
    """Raises ImportRefused where the SAE is served with other weights (their digest; empty if it is not served)."""
    catalog = source.catalog
    if served and served != catalog.weights_digest:
        raise ImportRefused(
            f"the inference service serves {catalog.sae} with other weights ({served[:12]}…) than the tables in "
            f"{source.folder} are about ({catalog.weights_digest[:12]}…)"
        )


async def served_digest(address: str, sae: str) -> str:
    """The digest of the weights with which an SAE is served; empty where it is not, or nobody answers."""
    if not await is_serving(address, _PROBE_SECONDS):
        return ""
    async with InferenceClient(address) as client:
        try:
            models = await client.models()
        except RpcFailure:
            return ""
    return next((each.weights_digest for model in models for each in model.saes if each.id == sae), "")


def embedded_folder() -> Path:
    """Where the embedded model's SAE lies."""
    folders = sorted(path.parent for path in MODELS_DIR.rglob("cfg.json"))
    if not folders:
        fail(f"There is no SAE under {MODELS_DIR}.", "Name the folder of one: hearth features import DIR.")
    return folders[0]


@contextmanager
def told() -> Iterator[None]:
    """Inside, what can go wrong with files becomes one line."""
    try:
        yield
    except (SaeLabError, SaeError, SetupError, OSError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        error_console().print(f"[dim]Stopped. {_GO_ON}[/dim]")
        raise typer.Exit(INTERRUPTED) from None

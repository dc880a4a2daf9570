"""The import of `hearth up`: features of served SAEs that are not in the catalogue yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from services.cli.failures import explain
from services.cli.importing.command import import_source, require_served
from services.cli.importing.source import FeatureSource, has_tables
from services.inference.sae.errors import SaeError
from services.rpc.channel import RpcFailure
from services.saelab.errors import SaeLabError


async def import_all(
    folders: Sequence[Path], served: Mapping[str, str], address: str, out: Console
) -> list[str]:
    """Imports what is new, with progress on the console; returns what is to be said of it, nothing where all is well.

    `served` holds the digest of each served SAE's weights. What fails costs the search, not the start.
    """
    notes = []
    for folder in folders:
        if not has_tables(folder):
            notes.append(
                f"{folder.name} has no feature tables, so its features cannot be searched: `hearth sae features` "
                "makes them."
            )
            continue
        try:
            source = FeatureSource(folder)
            require_served(source, served.get(source.catalog.sae, ""))
            await import_source(source, address, out)
        except RpcFailure as failure:
            notes.append(_failed(folder, explain(failure, address)[0]))
        except (SaeLabError, SaeError, OSError) as error:
            notes.append(_failed(folder, str(error)))
    return notes


def _failed(folder: Path, problem: str) -> str:
    return (
        f"The features of {folder.name} were not imported: {problem} Try `hearth features import {folder}`."
    )

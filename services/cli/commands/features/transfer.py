"""`hearth features import`, `export` and `delete`: features into the catalogue, out of it, and away."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.cli.feature_options import DEFAULT_FEATURES_ADDRESS, CatalogSae, FeaturesAddress
from services.cli.options import DEFAULT_ADDRESS, JsonOption


def import_features(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Folder of an SAE with features.parquet, labels.parquet or both; the embedded one unless given.",
            show_default=False,
        ),
    ] = None,
    restart: Annotated[
        bool,
        typer.Option(
            "--restart", help="Begin anew, even where all of it is in the catalogue.", show_default=False
        ),
    ] = False,
    as_json: JsonOption = False,
    address: FeaturesAddress = DEFAULT_FEATURES_ADDRESS,
    inference: Annotated[
        str,
        typer.Option(
            envvar="HEARTH_ADDRESS",
            metavar="HOST:PORT",
            help="An inference service; if it serves the SAE, its weights must be the same.",
            rich_help_panel="Where to ask",
        ),
    ] = DEFAULT_ADDRESS,
) -> None:
    """Import the features of an SAE into the catalogue.

    Nothing of an import is visible until all of it is there; then it replaces what there was for the SAE at once. A
    broken-off import goes on where it stopped. Labels that people have given are kept.

      hearth features import

      hearth features import ./my-sae
    """
    from services.cli.importing.command import run_import

    run_import(folder, address, inference, restart=restart, as_json=as_json)


def export(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            dir_okay=False,
            help="The file to write; standard output unless given.",
            show_default=False,
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Write labels.parquet into an SAE's folder instead, with what people called features.",
            show_default=False,
        ),
    ] = None,
    vectors: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Write vectors.safetensors into an SAE's folder instead: the sentence vectors of its tables, so that "
            "an import has nothing to encode. Needs no server.",
            show_default=False,
        ),
    ] = None,
    address: FeaturesAddress = DEFAULT_FEATURES_ADDRESS,
    sae: CatalogSae = "",
) -> None:
    """Write all features of an SAE as JSON, one a line.

    hearth features export -o features.jsonl

    hearth features export --vectors ./my-sae
    """
    from services.cli.importing.export import export_json, export_labels, export_vectors

    if sum(each is not None for each in (output, labels, vectors)) > 1:
        raise typer.BadParameter("give one of --output, --labels and --vectors.", param_hint="'--output'")
    if vectors is not None:
        export_vectors(vectors)
    elif labels is not None:
        export_labels(labels, address, sae)
    else:
        export_json(output, address, sae)


def delete(
    sae: Annotated[str, typer.Argument(metavar="SAE", help="The SAE's id.", show_default=False)],
    address: FeaturesAddress = DEFAULT_FEATURES_ADDRESS,
) -> None:
    """Remove an SAE's features from the catalogue.

    What people called them is kept, for when it is imported again.

      hearth features delete my-sae
    """
    from services.cli.calling import ask_features
    from services.cli.render.console import console

    ask_features(lambda client: client.delete_catalog(sae), address)
    console().print(f"{sae} is no longer in the catalogue.", markup=False)

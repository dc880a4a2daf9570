"""`hearth doctor`: whether an SAE fits a model, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.cli.options import JsonOption


def doctor(
    sae: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            exists=True,
            help="The SAE's files; those of the embedded model unless given. May be given several times.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Hugging Face id or folder of the model; the embedded one unless given.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda or cuda:N; cuda where there is one unless given.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Examine SAEs on their model, offline: do hook, width, BOS and reconstruction fit?

    The same examination runs at every start of the server, which refuses an SAE that fails it. Exit code 1 where one
    would be refused.

      hearth doctor

      hearth doctor --model google/gemma-2-2b --sae ./gemma-scope/layer_12
    """
    from services.cli.examination import examine
    from services.cli.serving import inference_settings

    saes = [str(path) for path in sae] if sae else None
    if not examine(inference_settings(model=model, saes=saes, device=device), as_json=as_json):
        raise typer.Exit(1)

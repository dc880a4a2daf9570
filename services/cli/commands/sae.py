"""`hearth sae`: makes and measures SAEs; the commands live in services.saelab."""

from __future__ import annotations

import typer


def sae(context: typer.Context) -> None:
    """Train, evaluate and look at sparse autoencoders.

    hearth sae --help
    """
    from services.saelab.cli import sae_app

    sae_app(context.args, prog_name="hearth sae")

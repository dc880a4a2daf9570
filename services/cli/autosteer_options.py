"""Options of the commands that ask auto-steer."""

from __future__ import annotations

from typing import Annotated

import typer

DEFAULT_AUTOSTEER_ADDRESS = "localhost:50053"
"""Where the auto-steer server of `hearth up` listens unless told otherwise."""
AUTOSTEER_ADDRESS = "HEARTH_AUTOSTEER_ADDRESS"
"""The variable that names another address."""

AutoSteerAddress = Annotated[
    str,
    typer.Option(
        "--address",
        envvar=AUTOSTEER_ADDRESS,
        metavar="HOST:PORT",
        help="Where the auto-steer server listens.",
        rich_help_panel="Where to ask",
    ),
]

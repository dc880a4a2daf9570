"""Options that several commands take, and the prompt they make."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.cli.questions import Message, Prompt

DEFAULT_ADDRESS = "localhost:50051"
"""Where `hearth up` listens unless told otherwise."""

_WHERE = "Where to ask"
_EDITS = "Steering"

AddressOption = Annotated[
    str,
    typer.Option(
        "--address",
        envvar="HEARTH_ADDRESS",
        metavar="HOST:PORT",
        help="Where the server listens.",
        rich_help_panel=_WHERE,
    ),
]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="ID",
        help="The model; not needed where one is served.",
        show_default=False,
        rich_help_panel=_WHERE,
    ),
]
SaeOption = Annotated[
    str,
    typer.Option(
        "--sae",
        metavar="ID",
        help="The SAE of features that name none; not needed where the model has one.",
        show_default=False,
        rich_help_panel=_WHERE,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object, for scripts.", show_default=False)
]
ChatOption = Annotated[
    bool,
    typer.Option("--chat", help="Read the text as a user's message in a chat.", show_default=False),
]
SystemOption = Annotated[
    str,
    typer.Option("--system", metavar="TEXT", help="A system message before the chat.", show_default=False),
]
NudgeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--nudge",
        "-n",
        metavar="FEATURE=STRENGTH",
        help="Push towards a feature: 0.3 is subtle, 0.5 good, 0.9 breaks the model; below 0 pushes away.",
        rich_help_panel=_EDITS,
    ),
]
PinOption = Annotated[
    list[str] | None,
    typer.Option(
        "--pin",
        "-p",
        metavar="FEATURE=ACTIVATION",
        help="Hold a feature at an activation: 0 switches it off, 1 is its usual maximum.",
        rich_help_panel=_EDITS,
    ),
]
ScaleOption = Annotated[
    list[str] | None,
    typer.Option(
        "--scale",
        "-s",
        metavar="FEATURE=FACTOR",
        help="Multiply a feature wherever it fires: 0 removes it, 2 doubles it.",
        rich_help_panel=_EDITS,
    ),
]
WhenOption = Annotated[
    list[str] | None,
    typer.Option(
        "--when",
        metavar="FEATURE>NUMBER",
        help="Make the edits only at tokens where this holds; several must all hold. `1,2>0.5` takes the larger.",
        rich_help_panel=_EDITS,
    ),
]
LatchOption = Annotated[
    bool,
    typer.Option(
        "--latch",
        help="With --when: from the first such token on.",
        show_default=False,
        rich_help_panel=_EDITS,
    ),
]
SteeringFileOption = Annotated[
    Path | None,
    typer.Option(
        "--steering",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="A hearth.v1.Steering as JSON; the edits given here are added to it.",
        rich_help_panel=_EDITS,
    ),
]
RawOption = Annotated[
    bool,
    typer.Option(
        "--raw",
        help="Numbers are the SAE's own, not strengths and activation units.",
        show_default=False,
        rich_help_panel=_EDITS,
    ),
]


def prompt_of(text: str, chat: bool, system: str = "") -> Prompt:
    """The text as it is, or as a chat of one user's message; a system message makes it a chat."""
    if not chat and not system:
        return text
    first = (Message("system", system),) if system else ()
    return (*first, Message("user", text))

"""What `hearth up` says once everything serves."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.text import Text

from services.cli.answers import ModelInfo
from services.cli.options import DEFAULT_ADDRESS
from services.cli.render.console import EMBER
from services.cli.showcase import FALLBACK, Showpiece

_MOST = 2


def welcome(
    models: Sequence[ModelInfo],
    address: str,
    pieces: Sequence[Showpiece],
    *,
    command: str = "hearth",
    seconds: float = 0.0,
) -> RenderableType:
    """What is served and where, and commands to try.

    To be printed with `soft_wrap`: a command is one line however narrow the terminal, so that it copies whole.
    """
    lines: list[RenderableType] = []
    for model in models:
        lines.append(Text.assemble((model.id, "bold"), f" on {address}"))
        lines.extend(
            Text(f"SAE {sae.id}: {sae.feature_count:,} features at {sae.hook_point}", style="dim")
            for sae in model.saes
        )
    steerable = any(model.saes for model in models)
    lines += [
        Text("\nTry in another terminal:", style="bold"),
        _commands(command, address, pieces, steerable),
    ]
    lines.append(Text("\nCtrl-C stops it.", style="dim"))
    title = f"[bold]Hearth is ready[/bold] [dim]({seconds:.0f} s)[/dim]"
    return Group(Rule(title, align="left", style=EMBER), Text(), *lines, Text(), Rule(style=EMBER))


def _commands(command: str, address: str, pieces: Sequence[Showpiece], steerable: bool) -> RenderableType:
    lines: list[RenderableType] = []

    def add(what: str, line: str) -> None:
        lines.append(Text(f"\n# {what}", style="dim"))
        lines.append(Text(line, style=EMBER))

    if not _is_default(address):
        add("where to ask, as it is not the usual port", f"export HEARTH_ADDRESS={address}")
    if not steerable:
        add("talk to it", f"{command} chat")
        return Group(*lines)
    for piece in pieces[:_MOST] or [FALLBACK]:
        what = (
            f"{piece.topic} on its mind: plain and steered, side by side" if piece.topic else "side by side"
        )
        add(what, f'{command} chat --nudge {piece.feature}={piece.strength:g} "{piece.prompt}"')
    first = pieces[0] if pieces else None
    feature = f"--feature {first.feature} " if first else ""
    add("where features fire in a text", f'{command} inspect {feature}"The ship sailed at dawn."')
    return Group(*lines)


def _is_default(address: str) -> bool:
    host, _, port = address.rpartition(":")
    return host in ("localhost", "127.0.0.1") and port == DEFAULT_ADDRESS.rpartition(":")[2]

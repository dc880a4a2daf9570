"""What `hearth up` says once everything serves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.text import Text

from services.cli.answers import ModelInfo
from services.cli.autosteer_options import AUTOSTEER_ADDRESS, DEFAULT_AUTOSTEER_ADDRESS
from services.cli.feature_options import DEFAULT_FEATURES_ADDRESS, FEATURES_ADDRESS
from services.cli.options import DEFAULT_ADDRESS
from services.cli.render.console import EMBER
from services.cli.showcase import FALLBACK, Showpiece

_MOST = 2
_QUERY = "talk like a pirate"
"""What to search where no feature was measured to steer."""


@dataclass(frozen=True, slots=True)
class Served:
    """What is up."""

    models: Sequence[ModelInfo]
    address: str
    """Of the inference service."""
    features_address: str
    autosteer_address: str
    searchable: int
    """Features that can be searched."""
    notes: Sequence[str] = ()
    """What did not go as wished."""
    gateway_address: str = ""
    """With http:// before it."""
    has_dev_key: bool = False
    """Whether the gateway accepts the key `dev`."""


def welcome(
    served: Served, pieces: Sequence[Showpiece], *, command: str = "hearth", seconds: float = 0.0
) -> RenderableType:
    """What is served and where, and commands to try.

    To be printed with `soft_wrap`: a command is one line however narrow the terminal, so that it copies whole.
    """
    lines: list[RenderableType] = []
    for model in served.models:
        lines.append(Text.assemble((model.id, "bold"), f" on {served.address}"))
        lines.extend(
            Text(f"SAE {sae.id}: {sae.feature_count:,} features at {sae.hook_point}", style="dim")
            for sae in model.saes
        )
    if served.searchable:
        lines.append(
            Text.assemble(
                (f"{served.searchable:,} features to search", "bold"), f" on {served.features_address}"
            )
        )
    if served.gateway_address:
        lines += _gateway(command, served)
    lines.extend(Text(note, style="dim") for note in served.notes)
    lines += [
        Text("\nTry in another terminal:", style="bold"),
        _commands(command, served, pieces),
    ]
    lines.append(Text("\nCtrl-C stops it.", style="dim"))
    title = f"[bold]Hearth is ready[/bold] [dim]({seconds:.0f} s)[/dim]"
    return Group(Rule(title, align="left", style=EMBER), Text(), *lines, Text(), Rule(style=EMBER))


def _gateway(command: str, served: Served) -> list[RenderableType]:
    """Where the page is, and the one line by which code that was written for Ember runs here."""
    key = "dev" if served.has_dev_key else "KEY"
    lines: list[RenderableType] = [
        Text.assemble(("The page", "bold"), " on ", (served.gateway_address, f"bold {EMBER}")),
        Text(f'Ember\'s SDK: goodfire.Client("{key}", base_url="{served.gateway_address}")', style="dim"),
        Text(f'OpenAI\'s SDK: OpenAI(api_key="{key}", base_url="{served.gateway_address}/v1")', style="dim"),
    ]
    if served.has_dev_key:
        lines.append(Text("The key dev opens everything to every program of this machine.", style="yellow"))
    else:
        lines.append(Text(f"Keys are made by {command} keys create.", style="dim"))
    return lines


def _commands(command: str, served: Served, pieces: Sequence[Showpiece]) -> RenderableType:
    lines: list[RenderableType] = []

    def add(what: str, line: str) -> None:
        lines.append(Text(f"\n# {what}", style="dim"))
        lines.append(Text(line, style=EMBER))

    if not _is_default(served.address, DEFAULT_ADDRESS):
        add("where to ask, as it is not the usual port", f"export HEARTH_ADDRESS={served.address}")
    if not _is_default(served.features_address, DEFAULT_FEATURES_ADDRESS):
        add("and for features", f"export {FEATURES_ADDRESS}={served.features_address}")
    if not _is_default(served.autosteer_address, DEFAULT_AUTOSTEER_ADDRESS):
        add("and for auto-steer", f"export {AUTOSTEER_ADDRESS}={served.autosteer_address}")
    if not any(model.saes for model in served.models):
        add("talk to it", f"{command} chat")
        return Group(*lines)
    first = pieces[0] if pieces else None
    if served.searchable:
        add("find features", f'{command} features search "{first.topic if first else _QUERY}"')
        add("edits for what you say, tested", f'{command} autosteer --quick "{_QUERY}"')
    for piece in pieces[:_MOST] or [FALLBACK]:
        what = (
            f"{piece.topic} on its mind: plain and steered, side by side" if piece.topic else "side by side"
        )
        add(what, f'{command} chat --nudge {piece.feature}={piece.strength:g} "{piece.prompt}"')
    feature = f"--feature {first.feature} " if first else ""
    add("where features fire in a text", f'{command} inspect {feature}"The ship sailed at dawn."')
    return Group(*lines)


def _is_default(address: str, default: str) -> bool:
    host, _, port = address.rpartition(":")
    return host in ("localhost", "127.0.0.1") and port == default.rpartition(":")[2]

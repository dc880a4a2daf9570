"""All commands of `hearth`. Whatever is slow to import is imported by the command that needs it, when it runs."""

from __future__ import annotations

from collections.abc import Callable
from inspect import cleandoc
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from services.cli.commands import (
    attribute,
    autosteer,
    backup,
    chat,
    contrast,
    doctor,
    inspect,
    keys,
    logits,
    models,
    replay,
    sae,
    tokenize,
    up,
    variants,
)
from services.cli.commands.features import label, listing, search, show, transfer
from services.cli.render.console import EMBER

OVERVIEW = """Run a language model on your own machine and steer it by its features.

Start it in one terminal:   [#ff8c42]hearth up[/]
Find features in another:   [#ff8c42]hearth features search "the sea"[/]
Have edits found for you:   [#ff8c42]hearth autosteer "talk like a pirate"[/]
Then talk, steered by one:  [#ff8c42]hearth chat --nudge 1234=0.5 "Tell me a story."[/]

`hearth COMMAND --help` has an example for each command.
"""

app = typer.Typer(
    name="hearth",
    help=OVERVIEW,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

features = typer.Typer(
    help="Find features by what they are about, and see all that is known of one.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


class SentenceGroup(TyperGroup):
    """A group whose first argument may be what is wanted, in words: `start` is then understood."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Puts `start` in front of what names no command and does not ask for help."""
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["start", *args]
        return super().parse_args(ctx, args)


steered = typer.Typer(
    cls=SentenceGroup,
    help='Edits that make the model behave as you say: [#ff8c42]hearth autosteer "talk like a pirate"[/]',
    no_args_is_help=True,
    rich_markup_mode="rich",
)

saved = typer.Typer(
    help="Steering that is saved under a name.", no_args_is_help=True, rich_markup_mode="rich"
)
opening = typer.Typer(
    help="Keys that open the gateway, with quotas.", no_args_is_help=True, rich_markup_mode="rich"
)
_SERVE = "Serve"
_RUNNING = "Steer and look inside (needs a running server)"
_PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    _SERVE: (up.up, backup.backup, backup.restore),
    _RUNNING: (
        models.models,
        chat.chat,
        inspect.inspect,
        contrast.contrast,
        logits.logits,
        attribute.attribute,
        tokenize.tokenize,
        replay.replay,
    ),
    "Sparse autoencoders (offline)": (doctor.doctor,),
}
_FEATURES: dict[str, Callable[..., None]] = {
    "search": search.search,
    "show": show.show,
    "list": listing.listing,
    "neighbors": listing.neighbors,
    "label": label.label,
    "catalogs": listing.catalogs,
    "import": transfer.import_features,
    "export": transfer.export,
    "delete": transfer.delete,
}
_AUTOSTEER: dict[str, Callable[..., None]] = {
    "start": autosteer.start,
    "watch": autosteer.watch,
    "list": autosteer.listing,
    "show": autosteer.show,
    "cancel": autosteer.cancel,
}
_VARIANTS: dict[str, Callable[..., None]] = {
    "list": variants.listing,
    "show": variants.show,
    "save": variants.save,
    "delete": variants.delete,
    "restore": variants.restore,
}

_KEYS: dict[str, Callable[..., None]] = {
    "create": keys.create,
    "list": keys.listing,
    "revoke": keys.revoke,
}


def help_of(command: Callable[..., None]) -> str:
    """A command's docstring, its paragraphs free to be broken anew and its examples in colour."""
    paragraphs = cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(
        f"[{EMBER}]{escape(each)}[/]" if each.startswith(" ") else escape(each.replace("\n", " "))
        for each in paragraphs
    )


for panel, commands in _PANELS.items():
    for command in commands:
        app.command(command.__name__, rich_help_panel=panel, help=help_of(command))(command)
_GROUPS = (
    (features, "features", _FEATURES, _RUNNING),
    (steered, "autosteer", _AUTOSTEER, _RUNNING),
    (saved, "variants", _VARIANTS, _RUNNING),
    (opening, "keys", _KEYS, _SERVE),
)
for group, group_name, members, where in _GROUPS:
    for name, command in members.items():
        group.command(name, help=help_of(command))(command)
    app.add_typer(group, name=group_name, rich_help_panel=where)
app.command(
    "sae",
    rich_help_panel=panel,
    add_help_option=False,  # its arguments, --help too, are for services.saelab
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)(sae.sae)

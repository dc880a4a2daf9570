"""`hearth replay`: texts generated again from their receipts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.options import DEFAULT_ADDRESS, JsonOption

if TYPE_CHECKING:
    from services.cli.clients.replays import ReplayClient


def replay(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="RECEIPT...",
            exists=True,
            dir_okay=False,
            help="JSON with receipts: one, many, one a line, or answers that hold them.",
            show_default=False,
        ),
    ],
    prompts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="The prompts of receipts that have digests only: hearth.v1.Prompt as JSON, or plain texts; one, a "
            "list, or one a line.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    address: Annotated[
        str,
        typer.Option(
            "--address",
            "--inference",
            envvar="HEARTH_ADDRESS",
            metavar="HOST:PORT",
            help="Where the inference service listens.",
            rich_help_panel="Where to ask",
        ),
    ] = DEFAULT_ADDRESS,
) -> None:
    """Generate texts again from their receipts, and see whether they are identical.

    Of each that is not, it is said what differs: weights, SAE, tokenizer, template, version, dtype, steering, and from
    which token on the text is another one. The exit code is 0 only where all are identical.

      hearth chat --receipt receipts.jsonl --nudge 1234=0.5 "Tell me a story."

      hearth replay receipts.jsonl
    """
    from services.cli.calling import ask_again
    from services.cli.failures import fail
    from services.cli.render.console import console, print_json
    from services.cli.render.replays import replayed_lines
    from services.cli.replaying import Replayed
    from services.cli.wire.receipts import prompts_in, receipts_in
    from services.errors import InvalidField

    try:
        receipts = [each for path in files for each in receipts_in(path.read_text("utf-8"), path.name)]
        given = prompts_in(prompts.read_text("utf-8"), prompts.name) if prompts else []
    except InvalidField as error:
        fail(error.message, "`hearth chat --receipt FILE` writes such a file.")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"the file cannot be read: {error}")
    out = console()

    async def all_of_them(client: ReplayClient) -> list[Replayed]:
        done = []
        async for each in client.replays(receipts, given):
            done.append(each)
            if not as_json:
                out.print(*replayed_lines(each, len(receipts)), sep="\n")
        return done

    done = ask_again(all_of_them, address)
    identical = sum(each.identical for each in done)
    if as_json:
        print_json({"identical": identical, "of": len(done), "receipts": done})
    else:
        out.print(f"{identical} of {len(done)} identical.", style="bold")
    if identical < len(done):
        raise typer.Exit(1)

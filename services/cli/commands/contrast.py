"""`hearth contrast`: which features tell two sets of prompts apart."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from services.cli.feature_options import DEFAULT_FEATURES_ADDRESS, BesideAddress
from services.cli.options import (
    DEFAULT_ADDRESS,
    AddressOption,
    ChatOption,
    JsonOption,
    ModelOption,
    SaeOption,
    prompt_of,
)

_FEW = 5
"""With fewer prompts a side, no q-value can be small."""


class Pooling(StrEnum):
    """How a prompt's tokens become one number."""

    MAX = "max"
    MEAN = "mean"
    LAST = "last"


_FILE = "One prompt a line."


def contrast(
    positive: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT", help="A prompt that shows the thing; several are better.", show_default=False
        ),
    ] = None,
    negative: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="A prompt that does not.", show_default=False),
    ] = None,
    positive_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help=_FILE, show_default=False),
    ] = None,
    negative_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help=_FILE, show_default=False),
    ] = None,
    top_k: Annotated[
        int, typer.Option("--top-k", "-k", metavar="N", min=1, max=1000, help="So many features a side.")
    ] = 10,
    pooling: Annotated[Pooling, typer.Option(help="How a prompt's tokens become one number.")] = Pooling.MAX,
    chat: ChatOption = False,
    as_json: JsonOption = False,
    address: AddressOption = DEFAULT_ADDRESS,
    features_address: BesideAddress = DEFAULT_FEATURES_ADDRESS,
    model: ModelOption = "",
    sae: SaeOption = "",
) -> None:
    """Find the features that tell two sets of prompts apart.

    AUROC is the chance that a positive prompt has the larger activation (0.5 says nothing, 1 tells them apart always);
    Effect is the difference in standard deviations; q is the chance that a find at least as good is an accident.

      hearth contrast --positive "I love sailing." --positive "The sea was calm." --negative "I love maths."

      hearth contrast --positive-file sea.txt --negative-file other.txt
    """
    from services.cli.calling import ask
    from services.cli.naming import labelled
    from services.cli.render.console import console, plain, print_json
    from services.cli.render.tables import contrast_table

    sides = {
        "--positive": _prompts("--positive", positive, positive_file),
        "--negative": _prompts("--negative", negative, negative_file),
    }
    found, labels = ask(
        lambda client: labelled(
            client.contrast(
                [prompt_of(text, chat) for text in sides["--positive"]],
                [prompt_of(text, chat) for text in sides["--negative"]],
                pooling=pooling.value,
                role="user" if chat else None,
                top_k=top_k,
            ),
            lambda found: (each.feature for each in (*found.positive, *found.negative)),
            client,
            features_address,
        ),
        address,
        model=model,
        sae=sae,
    )
    if as_json:
        print_json({**plain(found), "labels": labels})
        return
    out = console()
    out.print(contrast_table("More in the positive prompts", found.positive, labels))
    out.print(contrast_table("More in the negative prompts", found.negative, labels))
    out.print(
        f"  {found.tested_features} features fire in either set; means are raw activations.", style="dim"
    )
    if min(map(len, sides.values())) < _FEW:
        out.print(f"  With fewer than {_FEW} prompts a side, q cannot be small: give more.", style="dim")


def _prompts(option: str, texts: list[str] | None, file: Path | None) -> list[str]:
    found = list(texts or ())
    if file is not None:
        found += [line for line in file.read_text("utf-8").splitlines() if line.strip()]
    if not found:
        raise typer.BadParameter(
            f"give prompts with {option} TEXT (as often as you like) or {option}-file FILE.",
            param_hint=f"'{option}'",
        )
    return found

"""`hearth inspect`: which features fire, and where."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli.feature_options import DEFAULT_FEATURES_ADDRESS, BesideAddress
from services.cli.options import (
    DEFAULT_ADDRESS,
    AddressOption,
    ChatOption,
    JsonOption,
    ModelOption,
    NudgeOption,
    PinOption,
    SaeOption,
    ScaleOption,
    SystemOption,
    prompt_of,
)


def inspect(
    text: Annotated[str, typer.Argument(help="The text to look into.", show_default=False)],
    feature: Annotated[
        list[int] | None,
        typer.Option(
            "--feature",
            "-f",
            min=0,
            metavar="INDEX",
            help="Colour the text by this feature; may be given several times.",
            show_default=False,
        ),
    ] = None,
    top_k: Annotated[
        int, typer.Option("--top-k", "-k", metavar="N", min=1, help="So many of the strongest features.")
    ] = 10,
    chat: ChatOption = False,
    system: SystemOption = "",
    nudge: NudgeOption = None,
    pin: PinOption = None,
    scale: ScaleOption = None,
    as_json: JsonOption = False,
    address: AddressOption = DEFAULT_ADDRESS,
    features_address: BesideAddress = DEFAULT_FEATURES_ADDRESS,
    model: ModelOption = "",
    sae: SaeOption = "",
) -> None:
    """Show which features fire at every token of a text.

    With --feature, the text is coloured by how strongly that feature fires; without, every token is listed with its
    strongest features, and then those of the whole text. Numbers are raw activations.

      hearth inspect "The ship sailed at dawn."

      hearth inspect --feature 1234 "The ship sailed at dawn."
    """
    from services.cli.calling import ask
    from services.cli.naming import labelled
    from services.cli.render.activations import summarise
    from services.cli.render.console import console, print_json
    from services.cli.render.inspection import show_features, show_tokens
    from services.cli.syntax import build_steering

    features = tuple(dict.fromkeys(feature or ()))
    steering = build_steering(nudge=nudge, pin=pin, scale=scale, sae=sae)
    prompt = prompt_of(text, chat, system)
    tokens, labels = ask(
        lambda client: labelled(
            client.inspect(prompt, features=features, steering=steering),
            lambda tokens: features or (each.feature for each in summarise(tokens)[:top_k]),
            client,
            features_address,
        ),
        address,
        model=model,
        sae=sae,
    )
    if as_json:
        print_json({"tokens": tokens, "labels": labels})
    elif features:
        show_features(console(), tokens, features, labels)
    else:
        show_tokens(console(), tokens, top_k, labels)

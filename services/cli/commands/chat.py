"""`hearth chat`: the plain and the steered answer side by side."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Annotated

import typer

from services.cli.feature_options import DEFAULT_FEATURES_ADDRESS, BesideAddress, Owner
from services.cli.options import (
    DEFAULT_ADDRESS,
    AddressOption,
    JsonOption,
    LatchOption,
    ModelOption,
    NudgeOption,
    PinOption,
    RawOption,
    SaeOption,
    ScaleOption,
    SteeringFileOption,
    SystemOption,
    WhenOption,
)


def chat(
    prompt: Annotated[
        str | None, typer.Argument(help="What to say. Leave it out to talk in turns.", show_default=False)
    ] = None,
    nudge: NudgeOption = None,
    pin: PinOption = None,
    scale: ScaleOption = None,
    when: WhenOption = None,
    latch: LatchOption = False,
    steering: SteeringFileOption = None,
    variant: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Steering that is saved under this name; the edits given here are added to it.",
            rich_help_panel="Steering",
            show_default=False,
        ),
    ] = None,
    raw: RawOption = False,
    system: SystemOption = "",
    max_tokens: Annotated[int, typer.Option(min=1, metavar="N", help="The longest answer, in tokens.")] = 200,
    temperature: Annotated[
        float, typer.Option(min=0, max=10, metavar="NUMBER", help="0 always takes the likeliest token.")
    ] = 0.7,
    top_p: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="NUMBER",
            help="Draw from the likeliest tokens that hold this probability.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=2**63 - 1,
            metavar="N",
            help="The same seed gives the same answers.",
            show_default=False,
        ),
    ] = None,
    stop: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="End before this text.", show_default=False)
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare/--only-steered", help="Show the plain answer beside the steered one.")
    ] = True,
    report: Annotated[
        bool, typer.Option(help="Show what the edits delivered against what was asked.")
    ] = True,
    receipt: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            dir_okay=False,
            help="Add the answers' receipts to this file, one a line, for `hearth replay`.",
            show_default=False,
        ),
    ] = None,
    plain: Annotated[
        bool,
        typer.Option(
            "--plain", help="One answer after the other, as where output is no terminal.", show_default=False
        ),
    ] = False,
    as_json: JsonOption = False,
    address: AddressOption = DEFAULT_ADDRESS,
    features_address: BesideAddress = DEFAULT_FEATURES_ADDRESS,
    owner: Owner = "",
    model: ModelOption = "",
    sae: SaeOption = "",
) -> None:
    """Talk to the model, plain and steered side by side.

    Both answers use the same seed, so that what differs comes from the edits. Afterwards a table says how much of
    each edit arrived.

      hearth chat --nudge 1234=0.5 "What did you do this weekend?"

      hearth chat --pin 12=0 --when "7>0.5" "Tell me a story."

      hearth chat

    Without a prompt you talk in turns; /help lists what can be changed on the way. A steering file says the same and
    more, as JSON:

      {"edits": [{"feature": {"index": 1234}, "nudge": 0.5}],
       "positions": "POSITIONS_GENERATED"}
    """
    from services.cli.calling import read_steering, saved_steering
    from services.cli.conversation import Conversation
    from services.cli.questions import Sampling
    from services.cli.syntax import build_steering
    from services.cli.turns import Place, converse, say

    if variant is not None and steering is not None:
        raise typer.BadParameter("give this or --steering.", param_hint="'--variant'")
    if seed is not None and seed >= 2**64:
        raise typer.BadParameter("it must be below 2^64.", param_hint="'--seed'")
    edits = build_steering(
        nudge=nudge,
        pin=pin,
        scale=scale,
        when=when,
        latch=latch,
        raw=raw,
        sae=sae,
        base=read_steering(steering) if variant is None else saved_steering(variant, features_address, owner),
    )
    sampling = Sampling(
        seed=random.getrandbits(31) if seed is None else seed,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        stop=tuple(stop or ()),
    )
    conversation = Conversation(edits, sampling, compare, report, receipt is not None)
    conversation.begin(system)
    place = Place(address, model, sae, as_json, plain, receipt)
    if prompt is not None:
        say(conversation, prompt, place)
    else:
        converse(conversation, place, system)

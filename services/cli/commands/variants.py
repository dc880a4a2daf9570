"""`hearth variants`: steering that is saved under a name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.feature_options import DEFAULT_FEATURES_ADDRESS, FeaturesAddress, Owner
from services.cli.options import (
    JsonOption,
    LatchOption,
    NudgeOption,
    PinOption,
    RawOption,
    SaeOption,
    ScaleOption,
    SteeringFileOption,
    WhenOption,
)

if TYPE_CHECKING:
    from services.cli.clients.variants import VariantClient
    from services.cli.saved import SavedVariant

Name = Annotated[str, typer.Argument(metavar="NAME", help="The variant's name.", show_default=False)]


def save(
    name: Name,
    nudge: NudgeOption = None,
    pin: PinOption = None,
    scale: ScaleOption = None,
    when: WhenOption = None,
    latch: LatchOption = False,
    steering: SteeringFileOption = None,
    raw: RawOption = False,
    sae: SaeOption = "",
    description: Annotated[
        str, typer.Option(metavar="TEXT", help="What it is for.", show_default=False)
    ] = "",
    model: Annotated[
        str,
        typer.Option(metavar="ID", help="The model it is meant for; any unless given.", show_default=False),
    ] = "",
    overwrite: Annotated[
        bool, typer.Option("--replace", help="Replace a variant of that name.", show_default=False)
    ] = False,
    as_json: JsonOption = False,
    address: FeaturesAddress = DEFAULT_FEATURES_ADDRESS,
    owner: Owner = "",
) -> None:
    """Save steering under a name.

    hearth variants save sailor --nudge 1234=0.5 --description "talks of the sea"

    hearth chat --variant sailor "What did you do this weekend?"
    """
    from services.cli.calling import ask_variants, read_steering
    from services.cli.render.console import console
    from services.cli.saved import VariantDraft
    from services.cli.syntax import build_steering

    edits = build_steering(
        nudge=nudge,
        pin=pin,
        scale=scale,
        when=when,
        latch=latch,
        raw=raw,
        sae=sae,
        base=read_steering(steering),
    )
    if edits.empty:
        raise typer.BadParameter("there is nothing to save: give --nudge, --pin, --scale or --steering.")
    draft = VariantDraft(name, edits, description, model)

    async def store(client: VariantClient) -> SavedVariant:
        if not overwrite:
            return await client.save(draft)
        before = await client.named(name)
        kept = replace(draft, description=description or before.draft.description)
        return await client.replace(before, replace(kept, model=model or before.draft.model))

    saved = ask_variants(store, address, owner)
    if as_json:
        _print(saved)
    else:
        console().print(f"{name} is saved.", markup=False)


def show(
    name: Name,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            dir_okay=False,
            help="Write its steering into a file, as --steering reads it.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    address: FeaturesAddress = DEFAULT_FEATURES_ADDRESS,
    owner: Owner = "",
) -> None:
    """Show what a variant does.

    hearth variants show sailor
    """
    from services.cli.calling import ask_variants
    from services.cli.failures import fail
    from services.cli.render.console import console
    from services.cli.render.variants import variant_table
    from services.cli.wire.variants import steering_json

    found = ask_variants(lambda client: client.named(name), address, owner)
    if as_json:
        _print(found)
        return
    if output is None:
        console().print(variant_table([found]))
        print(steering_json(found.draft.steering))
        return
    try:
        output.write_text(f"{steering_json(found.draft.steering)}\n", "utf-8")
    except OSError as error:
        fail(f"{output} cannot be written: {error}")


def listing(
    deleted: Annotated[bool, typer.Option("--deleted", help="Deleted ones too.", show_default=False)] = False,
    as_json: JsonOption = False,
    address: FeaturesAddress = DEFAULT_FEATURES_ADDRESS,
    owner: Owner = "",
) -> None:
    """List saved steering, newest first.

    hearth variants list
    """
    from services.cli.calling import ask_variants
    from services.cli.render.console import console, print_json
    from services.cli.render.variants import variant_table

    found = ask_variants(lambda client: client.listed(deleted=deleted), address, owner)
    if as_json:
        print_json({"variants": [_fields(each) for each in found]})
    elif found:
        console().print(variant_table(found))
    else:
        console().print("None is saved: `hearth variants save --help`.", style="dim")


def delete(name: Name, address: FeaturesAddress = DEFAULT_FEATURES_ADDRESS, owner: Owner = "") -> None:
    """Put a variant aside; it can be brought back.

    hearth variants delete sailor
    """
    from services.cli.calling import ask_variants
    from services.cli.render.console import console

    async def remove(client: VariantClient) -> SavedVariant:
        return await client.delete(await client.named(name))

    gone = ask_variants(remove, address, owner)
    console().print(
        f"{name} is deleted; `hearth variants restore {gone.id}` brings it back.",
        markup=False,
        soft_wrap=True,
    )


def restore(
    variant: Annotated[str, typer.Argument(metavar="ID", help="The variant's UUID.", show_default=False)],
    address: FeaturesAddress = DEFAULT_FEATURES_ADDRESS,
    owner: Owner = "",
) -> None:
    """Bring a deleted variant back; `hearth variants list --deleted` shows ids.

    hearth variants restore 5f0c2f6e-0f0f-4c5e-9a51-0d7a6a0d5a10
    """
    from services.cli.calling import ask_variants
    from services.cli.render.console import console

    back = ask_variants(lambda client: client.restore(variant), address, owner)
    console().print(f"{back.draft.name} is back.", markup=False)


def _print(variant: SavedVariant) -> None:
    from services.cli.render.console import print_json

    print_json(_fields(variant))


def _fields(variant: SavedVariant) -> dict[str, object]:
    """For JSON: the steering as the API writes it, so that it can be given back with --steering."""
    import json

    from services.cli.render.console import plain
    from services.cli.wire.variants import steering_json

    fields = {**plain(variant), **plain(variant.draft)}
    del fields["draft"]
    return {**fields, "steering": json.loads(steering_json(variant.draft.steering))}

"""`hearth features label`: contest what a feature is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.feature_options import DEFAULT_FEATURES_ADDRESS, CatalogSae, FeaturesAddress, Owner
from services.cli.options import JsonOption

if TYPE_CHECKING:
    from services.cli.clients.features import FeatureClient
    from services.features.feature import Feature


def label(
    feature: Annotated[
        str, typer.Argument(metavar="FEATURE", help="Its index, or its UUID.", show_default=False)
    ],
    text: Annotated[
        str | None,
        typer.Argument(metavar="LABEL", help="What to call it, in 80 characters.", show_default=False),
    ] = None,
    description: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the label rests on.", show_default=False)
    ] = None,
    note: Annotated[str, typer.Option(metavar="TEXT", help="Why, for its history.", show_default=False)] = "",
    as_json: JsonOption = False,
    address: FeaturesAddress = DEFAULT_FEATURES_ADDRESS,
    sae: CatalogSae = "",
    owner: Owner = "",
) -> None:
    """Call a feature by another name.

    The label before stays in the feature's history, and a later import does not undo yours. Where somebody changed
    the feature at the same moment, nothing is overwritten.

      hearth features label 1234 "ships and sailing" --note "fires on harbours too"
    """
    from services.cli.calling import ask_features
    from services.cli.render.console import console, print_json, printable
    from services.cli.syntax import parse_feature_name

    if text is None and description is None:
        raise typer.BadParameter("give a label, --description, or both.", param_hint="'LABEL'")
    name = parse_feature_name(feature, sae)

    async def change(client: FeatureClient) -> tuple[Feature, Feature]:
        before = await client.feature(name)
        return before, await client.rename(
            before, label=text, description=description, note=note, owner=owner
        )

    before, after = ask_features(change, address)
    if as_json:
        print_json({"feature": after})
        return
    out = console()
    out.print(f"Feature {after.index} is called: {printable(after.label)}", markup=False)
    if before.label != after.label:
        out.print(f"It was called: {printable(before.label)}", style="dim", markup=False)

"""`hearth features show`: all that is known of one feature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.feature_options import DEFAULT_FEATURES_ADDRESS, CatalogSae, FeaturesAddress
from services.cli.options import JsonOption

if TYPE_CHECKING:
    from services.cli.clients.features import FeatureClient
    from services.cli.render.feature_card import FeatureCard


def show(
    feature: Annotated[
        str, typer.Argument(metavar="FEATURE", help="Its index, or its UUID.", show_default=False)
    ],
    examples: Annotated[
        int, typer.Option("--examples", "-e", metavar="N", min=0, help="So many texts in which it is active.")
    ] = 9,
    as_json: JsonOption = False,
    address: FeaturesAddress = DEFAULT_FEATURES_ADDRESS,
    sae: CatalogSae = "",
) -> None:
    """Show all that is known of a feature.

    Its label with the test that it passed or failed, statistics, the tokens that it promotes, texts in which it is
    active, what nudges did, features like it, and what people called it before.

      hearth features show 1234
    """
    from services.cli.calling import ask_features
    from services.cli.render.console import console, print_json
    from services.cli.render.feature_card import FeatureCard, show_card
    from services.cli.syntax import parse_feature_name

    name = parse_feature_name(feature, sae)

    async def read(client: FeatureClient) -> FeatureCard:
        found = await client.feature(name)
        catalogs = {catalog.sae: catalog for catalog in await client.catalogs()}
        alike = (*found.decoder_neighbors, *found.coactivation_neighbors)
        labels = await client.labels(found.sae, (each.index for each in alike))
        history = await client.revisions(name) if found.revision else []
        return FeatureCard(found, catalogs[found.sae], labels, history)

    card = ask_features(read, address)
    if as_json:
        print_json({"id": card.feature.id, **_fields(card)})
    else:
        show_card(console(), card, examples)


def _fields(card: FeatureCard) -> dict[str, object]:
    return {"feature": card.feature, "catalog": card.catalog, "history": card.history}

"""`hearth features list`, `neighbors` and `catalogs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.feature_options import (
    DEFAULT_FEATURES_ADDRESS,
    CatalogSae,
    Classes,
    FeaturesAddress,
    Labelled,
    MaxDensity,
    MinDensity,
    MinLabelScore,
    MinOutputScore,
    MinSteerability,
    Sources,
    filter_of,
)
from services.cli.options import JsonOption
from services.features.feature import Relation

if TYPE_CHECKING:
    from services.cli.clients.features import FeatureClient
    from services.features.feature import Feature


def listing(
    limit: Annotated[int, typer.Option("--limit", "-l", metavar="N", min=1, help="At most so many.")] = 50,
    classes: Classes = None,
    min_steerability: MinSteerability = None,
    min_output_score: MinOutputScore = None,
    min_label_score: MinLabelScore = None,
    labelled: Labelled = False,
    sources: Sources = None,
    min_density: MinDensity = None,
    max_density: MaxDensity = None,
    as_json: JsonOption = False,
    address: FeaturesAddress = DEFAULT_FEATURES_ADDRESS,
    sae: CatalogSae = "",
) -> None:
    """List features in order of index.

    hearth features list --class concept --min-output-score 2

    hearth features list --source person:ada
    """
    from services.cli.calling import ask_features
    from services.cli.render.console import console, print_json
    from services.cli.render.features import feature_list

    which = filter_of(
        classes=classes,
        min_density=min_density,
        max_density=max_density,
        sources=sources,
        min_label_score=min_label_score,
        labelled=labelled,
        min_output_score=min_output_score,
        min_steerability=min_steerability,
    )

    async def read(client: FeatureClient) -> list[Feature]:
        found: list[Feature] = []
        async for feature in client.listed(sae, which):
            found.append(feature)
            if len(found) > limit:
                break
        return found

    features = ask_features(read, address)
    more = len(features) > limit
    if as_json:
        print_json({"features": features[:limit], "more": more})
        return
    console().print(feature_list(features[:limit]))
    if more:
        console().print("  There are more: see them with --limit.", style="dim")


def neighbors(
    features: Annotated[
        list[str],
        typer.Argument(metavar="FEATURE...", help="Indices or UUIDs of features.", show_default=False),
    ],
    by: Annotated[
        Relation,
        typer.Option(
            help="decoder: they push in a similar direction; label: their labels mean similar things; "
            "coactivation: they are active at the same tokens."
        ),
    ] = Relation.DECODER,
    top_k: Annotated[
        int, typer.Option("--top-k", "-k", metavar="N", min=1, max=1000, help="So many features.")
    ] = 10,
    classes: Classes = None,
    labelled: Labelled = False,
    min_output_score: MinOutputScore = None,
    as_json: JsonOption = False,
    address: FeaturesAddress = DEFAULT_FEATURES_ADDRESS,
    sae: CatalogSae = "",
) -> None:
    """Find features like one, or like the centre of several.

    hearth features neighbors 1234

    hearth features neighbors 1234 88 4001 --by label
    """
    from services.cli.calling import ask_features
    from services.cli.render.console import console, print_json
    from services.cli.render.features import neighbor_table
    from services.cli.syntax import parse_feature_name

    names = [parse_feature_name(text, sae) for text in features]
    if len({bool(name.id) for name in names}) > 1:
        raise typer.BadParameter("give indices or UUIDs, not both.", param_hint="'FEATURE...'")
    which = filter_of(classes=classes, labelled=labelled, min_output_score=min_output_score)
    hits = ask_features(
        lambda client: client.neighbors(names, relation=by, top_k=top_k, which=which), address
    )
    if as_json:
        print_json({"hits": hits})
    elif hits:
        console().print(neighbor_table(hits))
    else:
        console().print("None is known.", style="dim")


def catalogs(as_json: JsonOption = False, address: FeaturesAddress = DEFAULT_FEATURES_ADDRESS) -> None:
    """List the SAEs whose features are in the catalogue.

    hearth features catalogs
    """
    from services.cli.calling import ask_features
    from services.cli.render.console import console, print_json
    from services.cli.render.features import catalog_table

    found = ask_features(lambda client: client.catalogs(), address)
    if as_json:
        print_json({"catalogs": found})
    elif found:
        console().print(catalog_table(found))
    else:
        console().print("The catalogue is empty: fill it with `hearth features import`.", style="dim")

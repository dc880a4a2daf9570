"""`hearth features search`: features by meaning or by word."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli.feature_options import (
    DEFAULT_FEATURES_ADDRESS,
    CatalogSae,
    Classes,
    FeaturesAddress,
    Labelled,
    Layers,
    MaxDensity,
    MinDensity,
    MinLabelScore,
    MinOutputScore,
    MinSteerability,
    Sources,
    filter_of,
)
from services.cli.options import JsonOption
from services.features.feature import SearchMode


def search(
    query: Annotated[str, typer.Argument(help="What they should be about.", show_default=False)],
    mode: Annotated[
        SearchMode,
        typer.Option(
            help="Compare with labels, with texts in which features are active, with words, or all."
        ),
    ] = SearchMode.HYBRID,
    top_k: Annotated[
        int, typer.Option("--top-k", "-k", metavar="N", min=1, max=100, help="So many features.")
    ] = 10,
    classes: Classes = None,
    min_steerability: MinSteerability = None,
    min_output_score: MinOutputScore = None,
    min_label_score: MinLabelScore = None,
    labelled: Labelled = False,
    sources: Sources = None,
    min_density: MinDensity = None,
    max_density: MaxDensity = None,
    layers: Layers = None,
    as_json: JsonOption = False,
    address: FeaturesAddress = DEFAULT_FEATURES_ADDRESS,
    sae: CatalogSae = "",
) -> None:
    """Find features by what they are about.

    Score is how well the label told held-out texts apart (AUROC; 0.5 is chance); Output, in nats, how much a nudge
    raises what the feature promotes; Steers how much of the feature nudged texts gained while they stayed fluent.
    Unless --class names some, features of syntax, place and template are left out.

      hearth features search "talk like a pirate"

      hearth features search cooking --labelled --min-output-score 1
    """
    from services.cli.calling import ask_features
    from services.cli.render.console import console, print_json
    from services.cli.render.features import hit_table

    which = filter_of(
        classes=classes,
        layers=layers,
        min_density=min_density,
        max_density=max_density,
        sources=sources,
        min_label_score=min_label_score,
        labelled=labelled,
        min_output_score=min_output_score,
        min_steerability=min_steerability,
    )
    hits = ask_features(
        lambda client: client.search(query, sae=sae, top_k=top_k, which=which, mode=mode), address
    )
    if as_json:
        print_json({"hits": hits})
    elif hits:
        console().print(hit_table(hits))
        best = hits[0].feature.index
        console().print(f"  See one: hearth features show {best}", style="dim")
    else:
        console().print("Nothing found. `hearth features catalogs` lists what can be searched.", style="dim")

"""Options of the commands that ask the catalogue of features."""

from __future__ import annotations

from typing import Annotated

import typer

from services.features.feature import FeatureClass, FeatureFilter

DEFAULT_FEATURES_ADDRESS = "localhost:50052"
"""Where the features process of `hearth up` listens unless told otherwise."""
FEATURES_ADDRESS = "HEARTH_FEATURES_ADDRESS"
"""The variable that names another address."""

_WHERE = "Where to ask"
_WHICH = "Which features count"

FeaturesAddress = Annotated[
    str,
    typer.Option(
        "--address",
        envvar=FEATURES_ADDRESS,
        metavar="HOST:PORT",
        help="Where the features process listens.",
        rich_help_panel=_WHERE,
    ),
]
BesideAddress = Annotated[
    str,
    typer.Option(
        "--features-address",
        envvar=FEATURES_ADDRESS,
        metavar="HOST:PORT",
        help="Where the features process listens.",
        rich_help_panel=_WHERE,
    ),
]
CatalogSae = Annotated[
    str,
    typer.Option(
        "--sae",
        metavar="ID",
        help="The SAE; not needed where the catalogue has one.",
        show_default=False,
        rich_help_panel=_WHERE,
    ),
]
Owner = Annotated[
    str,
    typer.Option(
        "--owner",
        envvar="HEARTH_OWNER",
        metavar="NAME",
        help="On whose behalf.",
        show_default=False,
        rich_help_panel=_WHERE,
    ),
]
Classes = Annotated[
    list[FeatureClass] | None,
    typer.Option("--class", help="Of this class; may be given several times.", rich_help_panel=_WHICH),
]
Layers = Annotated[
    list[int] | None,
    typer.Option(
        "--layer", min=0, metavar="N", help="Of SAEs of this block; several times.", rich_help_panel=_WHICH
    ),
]
MinDensity = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, metavar="SHARE", help="Active on at least this share of tokens.", rich_help_panel=_WHICH
    ),
]
MaxDensity = Annotated[
    float | None,
    typer.Option(min=0, max=1, metavar="SHARE", help="Active on at most this share.", rich_help_panel=_WHICH),
]
Sources = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        metavar="NAME",
        help="Labelled by `offline`, `neuronpedia`, `person:NAME` ...; several times.",
        rich_help_panel=_WHICH,
    ),
]
MinLabelScore = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, metavar="AUROC", help="With a label that tested this well.", rich_help_panel=_WHICH
    ),
]
Labelled = Annotated[
    bool,
    typer.Option(
        "--labelled", help="With a label that no test refuted.", show_default=False, rich_help_panel=_WHICH
    ),
]
MinOutputScore = Annotated[
    float | None,
    typer.Option(
        metavar="NATS", help="Whose nudges raise what they promote by this.", rich_help_panel=_WHICH
    ),
]
MinSteerability = Annotated[
    float | None,
    typer.Option(
        metavar="NUMBER",
        help="With a measured steerability of at least this: they visibly steer.",
        rich_help_panel=_WHICH,
    ),
]


def filter_of(
    *,
    classes: list[FeatureClass] | None = None,
    layers: list[int] | None = None,
    min_density: float | None = None,
    max_density: float | None = None,
    sources: list[str] | None = None,
    min_label_score: float | None = None,
    labelled: bool = False,
    min_output_score: float | None = None,
    min_steerability: float | None = None,
) -> FeatureFilter:
    """The filter that these options make."""
    return FeatureFilter(
        layers=tuple(layers or ()),
        classes=tuple(classes or ()),
        min_density=min_density,
        max_density=max_density,
        label_sources=tuple(sources or ()),
        min_label_score=min_label_score,
        labelled_only=labelled,
        min_output_score=min_output_score,
        min_steerability=min_steerability,
    )

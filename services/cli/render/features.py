"""Tables of features: found, listed, alike; and the catalogues that they are in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from services.cli.render.console import EMBER, number
from services.cli.render.labels import label_text
from services.features.feature import Catalog, Feature, FeatureClass, Hit

NOT_MEASURED = "–"


def percent(share: float) -> str:
    """A share at three digits."""
    return "<0.01%" if 0 < share < 1e-4 else f"{number(100 * share)}%"


def measured(value: float | None) -> str:
    """A score, or a dash where it was not measured."""
    return NOT_MEASURED if value is None else f"{value:.2f}"


def class_name(feature: Feature) -> str:
    """What a feature is about; a dash where nobody looked."""
    unknown = feature.feature_class is FeatureClass.UNSPECIFIED
    return NOT_MEASURED if unknown else feature.feature_class.value


def hit_table(hits: Sequence[Hit]) -> Table:
    """Features that were found, with what the query had in common with label, texts and words of each."""
    several = len({hit.feature.sae for hit in hits}) > 1
    table = _table(several)
    for name in ("label", "text", "words"):
        table.add_column(f"By\n{name}", justify="right", style="dim")
    for hit in hits:
        why = (hit.label_similarity, hit.context_similarity, hit.lexical_score)
        table.add_row(*_cells(hit.feature, several), *("" if each is None else number(each) for each in why))
    return table


def feature_list(features: Iterable[Feature]) -> Table:
    """Features of one SAE."""
    table = _table(several=False)
    for feature in features:
        table.add_row(*_cells(feature, several=False))
    return table


def neighbor_table(hits: Sequence[Hit]) -> Table:
    """Features that are like others, with their cosine."""
    table = _table(several=False)
    table.add_column("Cosine", justify="right")
    for hit in hits:
        table.add_row(*_cells(hit.feature, several=False), f"{hit.score:.2f}")
    return table


def catalog_table(catalogs: Iterable[Catalog]) -> Table:
    """The SAEs whose features can be searched."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("SAE and its model", overflow="fold")
    table.add_column("Hook point", overflow="fold")
    table.add_column("Features", justify="right")
    table.add_column("Imported")
    for each in catalogs:
        when = each.imported.astimezone().strftime("%Y-%m-%d %H:%M") if each.imported else NOT_MEASURED
        name = Text.assemble((each.sae, EMBER), (f"\n{each.model}", "dim"))
        table.add_row(name, each.hook_point, f"{each.feature_count:,}", when)
    return table


def _table(several: bool) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    if several:
        table.add_column("SAE", style="dim", overflow="fold")
    table.add_column("Feature", justify="right", style="bold")
    table.add_column("Label", ratio=1)
    table.add_column("Class")
    table.add_column("Score", justify="right")
    table.add_column("Steers", justify="right")
    table.add_column("Density", justify="right")
    return table


def _cells(feature: Feature, several: bool) -> tuple[str | Text, ...]:
    return (
        *((feature.sae,) if several else ()),
        str(feature.index),
        label_text(feature.label),
        class_name(feature),
        measured(feature.label_score),
        measured(feature.steerability),
        percent(feature.density),
    )

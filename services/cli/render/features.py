"""Tables of features: found, listed, alike; and the catalogues that they are in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

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
    found = {
        "By\nlabel": [hit.label_similarity for hit in hits],
        "By\ntext": [hit.context_similarity for hit in hits],
        "By\nwords": [hit.lexical_score for hit in hits],
    }
    return _table([hit.feature for hit in hits], found)


def feature_list(features: Sequence[Feature]) -> Table:
    """Features of one SAE."""
    return _table(features, {})


def neighbor_table(hits: Sequence[Hit]) -> Table:
    """Features that are like others, with their cosine."""
    return _table([hit.feature for hit in hits], {"Cosine": [hit.score for hit in hits]})


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


def _table(features: Sequence[Feature], more: Mapping[str, Sequence[float | None]]) -> Table:
    """A row for each feature, with `more` numbers by the heading of their column. What no feature has is left out."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    several = len({each.sae for each in features}) > 1
    if several:
        table.add_column("SAE", style="dim", overflow="fold")
    table.add_column("Feature", justify="right", style="bold")
    table.add_column("Label", ratio=1)
    table.add_column("Class")
    scores = {
        "Score": [each.label_score for each in features],
        "Output": [each.output_score for each in features],
        "Steers": [each.steerability for each in features],
    }
    scores = {name: values for name, values in scores.items() if any(v is not None for v in values)}
    more = {name: values for name, values in more.items() if any(v is not None for v in values)}
    for name in (*scores, "Density"):
        table.add_column(name, justify="right")
    for name in more:
        table.add_column(name, justify="right", style="dim")
    for place, each in enumerate(features):
        table.add_row(
            *((each.sae,) if several else ()),
            str(each.index),
            label_text(each.label),
            class_name(each),
            *(measured(values[place]) for values in scores.values()),
            percent(each.density),
            *("" if (value := values[place]) is None else number(value) for values in more.values()),
        )
    return table

"""What `hearth features export` does: a catalogue's features as JSON lines, its labels as a table, texts as vectors."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import nullcontext
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from services.cli.calling import ask_features
from services.cli.clients.features import FeatureClient
from services.cli.failures import fail
from services.cli.importing.command import told
from services.cli.importing.source import FeatureSource
from services.cli.importing.vectors import make_vectors
from services.cli.render.console import error_console, plain
from services.cli.render.progress import counting
from services.features.feature import Catalog, Feature, FeatureFilter
from services.saelab import label_table
from services.saelab.label_table import LabelTableInfo


def export_json(output: Path | None, address: str, sae: str) -> None:
    """Writes all features of an SAE, one a line; a file is whole or as it was."""
    partial = output.with_name(f"{output.name}.partial") if output else None

    async def write(client: FeatureClient) -> int:
        catalog = await _catalog(client, sae)
        count = 0
        with partial.open("w", encoding="utf-8") if partial else nullcontext(sys.stdout) as file:
            async for feature in _all(client, catalog, full=True):
                file.write(
                    json.dumps({"id": feature.id, **plain(feature)}, default=plain, ensure_ascii=False)
                )
                file.write("\n")
                count += 1
        return count

    with told():
        try:
            count = ask_features(write, address)
            if partial and output:
                partial.replace(output)
                error_console().print(f"{count:,} features in {output}.", markup=False)
        finally:
            if partial:
                partial.unlink(missing_ok=True)


def export_labels(folder: Path, address: str, sae: str) -> None:
    """Writes the labels of an SAE, those of people too, as its labels.parquet."""

    async def read(client: FeatureClient) -> tuple[Catalog, list[Feature]]:
        catalog = await _catalog(client, sae)
        return catalog, [feature async for feature in _all(client, catalog, full=False)]

    catalog, features = ask_features(read, address)
    info = LabelTableInfo(
        sae_id=catalog.sae,
        weights_digest=catalog.weights_digest,
        features=len(features),
        hearth_version=version("hearth"),
        settings={"exported": datetime.now(UTC).isoformat(timespec="seconds")},
    )
    with told():
        path = label_table.write(folder, info, map(_label, features))
    error_console().print(f"{len(features):,} labels in {path}.", markup=False)


def export_vectors(folder: Path) -> None:
    """Writes the sentence vectors of a folder's tables."""
    with told(), counting(error_console(), "texts") as progress:
        task = progress.add_task("Encoding texts", total=None)
        made = make_vectors(
            FeatureSource(folder), lambda done, of: progress.update(task, completed=done, total=of)
        )
    size = made.path.stat().st_size
    error_console().print(f"{made.texts:,} texts in {made.path} ({size / 1e6:.1f} MB).", markup=False)


async def _catalog(client: FeatureClient, sae: str) -> Catalog:
    catalogs = {each.sae: each for each in await client.catalogs()}
    if sae in catalogs:
        return catalogs[sae]
    if sae or len(catalogs) != 1:
        known = ", ".join(catalogs) or "none"
        problem = f"SAE {sae} is not in the catalogue." if sae else "It is not clear which SAE is meant."
        fail(problem, f"In the catalogue: {known}. Name one with --sae.")
    return next(iter(catalogs.values()))


def _all(client: FeatureClient, catalog: Catalog, *, full: bool) -> AsyncIterator[Feature]:
    return client.listed(catalog.sae, FeatureFilter(), full=full)


def _label(feature: Feature) -> label_table.Label:
    return label_table.Label(
        index=feature.index,
        label=feature.label,
        description=feature.description,
        source=feature.label_source or label_table.NO_SOURCE,
        score=feature.label_score,
        fuzzing=feature.label_fuzzing,
        null=feature.label_null,
        created=feature.updated or datetime.now(UTC),
    )

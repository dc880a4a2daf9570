"""features.parquet: what is known of each feature of an SAE, one row a feature, in order of index.

The rows are feature_rows.FeatureRow, the schema is SCHEMA, and the file's metadata holds a FeatureTableInfo as JSON
under parquet_table.INFO_KEY. Reading streams: a batch of rows is in memory at a time. Nothing here needs torch, so
that a catalogue can import the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from services.saelab.feature_rows import (
    Dose,
    Example,
    FeatureClass,
    FeatureRow,
    FeatureTableInfo,
    Neighbor,
    TokenWeight,
)
from services.saelab.parquet_table import batches, stored_info, writing

FEATURES = "features.parquet"
VERSION = 1
"""Of the schema; raised when a reader of the older one would misread the newer."""


def _struct(**names: pa.DataType) -> pa.DataType:
    return pa.struct([pa.field(name, kind, nullable=False) for name, kind in names.items()])


def _several(kind: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("item", kind, nullable=False))


_TOKENS = _several(_struct(token=pa.string(), id=pa.uint32(), weight=pa.float32()))
_NEIGHBORS = _several(_struct(index=pa.uint32(), similarity=pa.float32()))
_EXAMPLES = _several(
    _struct(
        kind=pa.string(),
        quantile=pa.float32(),
        tokens=_several(pa.string()),
        activations=_several(pa.float32()),
        peak=pa.uint16(),
        role=pa.string(),
        document=pa.string(),
    )
)
_NULLABLE = frozenset({"output_score", "steerability"})
_TYPES = {
    "index": pa.uint32(),
    "density": pa.float32(),
    "scale": pa.float32(),
    "max_activation": pa.float32(),
    "histogram": _several(pa.uint32()),
    "feature_class": pa.string(),
    "output_score": pa.float32(),
    "steering": _several(
        _struct(strength=pa.float32(), gain=pa.float32(), loss=pa.float32(), distinct=pa.float32())
    ),
    "steerability": pa.float32(),
    "promoted": _TOKENS,
    "suppressed": _TOKENS,
    "examples": _EXAMPLES,
    "decoder_neighbors": _NEIGHBORS,
    "coactivation_neighbors": _NEIGHBORS,
}
SCHEMA = pa.schema([pa.field(name, kind, nullable=name in _NULLABLE) for name, kind in _TYPES.items()])
"""Columns are named as the fields of FeatureRow."""


class FeatureTable:
    """A features.parquet on disk, opened."""

    def __init__(self, path: Path, info: FeatureTableInfo) -> None:
        self.path, self.info = path, info

    def __len__(self) -> int:
        """Number of features."""
        return self.info.features

    def rows(self, batch: int = 256, columns: Iterable[str] | None = None) -> Iterator[FeatureRow]:
        """The features in order, `batch` in memory at a time. Columns left out have FeatureRow's own defaults;
        those without one are always read. Raises TableError where the file is broken."""
        wanted = None if columns is None else [*_REQUIRED, *(c for c in columns if c not in _REQUIRED)]
        for part in batches(self.path, batch, wanted):
            yield from map(_row, part)

    def __iter__(self) -> Iterator[FeatureRow]:
        return self.rows()


def read(folder: Path) -> FeatureTable:
    """Opens the feature table of an SAE's folder. Raises TableError where there is none, or it cannot be read."""
    path = folder / FEATURES
    stored = stored_info(path, SCHEMA, VERSION, "hearth sae features")
    info = FeatureTableInfo(**stored | {"histogram_edges": tuple(stored["histogram_edges"])})
    return FeatureTable(path, info)


def write(folder: Path, info: FeatureTableInfo, rows: Iterable[FeatureRow], batch: int = 256) -> Path:
    """Writes the table of an SAE's folder; it is whole or not there. `rows` may be a generator.

    Raises ValueError where the rows are not those of the features 0 to info.features - 1 in order, TableError where
    the disk is full.
    """
    path = folder / FEATURES
    remaining, count = iter(rows), 0
    with writing(path, SCHEMA, VERSION, asdict(info)) as writer:
        while part := list(islice(remaining, batch)):
            for row in part:
                if row.index != count or len(row.histogram) != len(info.histogram_edges) - 1:
                    raise ValueError(
                        f"row {count} is of feature {row.index}, or its histogram has other bins"
                    )
                count += 1
            writer.write_table(pa.Table.from_pylist([asdict(row) for row in part], schema=writer.schema))
        if count != info.features:
            raise ValueError(f"{count} rows for {info.features} features")
    return path


_REQUIRED = ("index", "density", "scale", "max_activation", "histogram", "feature_class")
_ITEMS = {
    "steering": Dose,
    "promoted": TokenWeight,
    "suppressed": TokenWeight,
    "decoder_neighbors": Neighbor,
    "coactivation_neighbors": Neighbor,
}


def _row(values: dict[str, Any]) -> FeatureRow:
    made = dict(values)
    for name, item in _ITEMS.items():
        if name in made:
            made[name] = tuple(item(**value) for value in made[name])
    if "examples" in made:
        made["examples"] = tuple(
            Example(**e | {"tokens": tuple(e["tokens"]), "activations": tuple(e["activations"])})
            for e in made["examples"]
        )
    made["histogram"] = tuple(made["histogram"])
    made["feature_class"] = FeatureClass(made["feature_class"])
    return FeatureRow(**made)

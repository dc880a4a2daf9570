"""features.parquet: what is known of each feature of an SAE, one row a feature, in order of index.

The rows are feature_rows.FeatureRow, the schema is SCHEMA, and the file's metadata holds a FeatureTableInfo as JSON
under INFO_KEY. Reading streams: a batch of rows is in memory at a time. Nothing here needs torch, so that a catalogue
can import the table.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from services.saelab.errors import TableError
from services.saelab.feature_rows import (
    Dose,
    Example,
    FeatureClass,
    FeatureRow,
    FeatureTableInfo,
    Neighbor,
    TokenWeight,
)

FEATURES = "features.parquet"
INFO_KEY = b"hearth"
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
        try:
            with pq.ParquetFile(self.path) as file:
                for part in file.iter_batches(batch, columns=wanted):
                    yield from (_row(values) for values in part.to_pylist())
        except (OSError, pa.ArrowException) as error:
            raise _broken(self.path, error) from error

    def __iter__(self) -> Iterator[FeatureRow]:
        return self.rows()


def read(folder: Path) -> FeatureTable:
    """Opens the feature table of an SAE's folder. Raises TableError where there is none, or it cannot be read."""
    path = folder / FEATURES
    if not path.is_file():
        raise TableError(f"no {FEATURES} in {folder}: make it with `hearth sae features`")
    try:
        schema = pq.read_schema(path)
        stored = json.loads((schema.metadata or {})[INFO_KEY])
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise _broken(path, error) from error
    if stored.pop("version", None) != VERSION or not schema.equals(SCHEMA):
        raise TableError(f"{path} has another schema than this release of Hearth reads: make it again")
    info = FeatureTableInfo(**stored | {"histogram_edges": tuple(stored["histogram_edges"])})
    return FeatureTable(path, info)


def write(folder: Path, info: FeatureTableInfo, rows: Iterable[FeatureRow], batch: int = 256) -> Path:
    """Writes the table of an SAE's folder; it is whole or not there. `rows` may be a generator.

    Raises ValueError where the rows are not those of the features 0 to info.features - 1 in order, TableError where
    the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FEATURES
    partial = path.with_suffix(".partial")
    stored = json.dumps({"version": VERSION, **asdict(info)}, ensure_ascii=False)
    schema = SCHEMA.with_metadata({INFO_KEY: stored.encode()})
    remaining, count = iter(rows), 0
    try:
        with pq.ParquetWriter(partial, schema, compression="zstd", compression_level=9) as writer:
            while part := list(islice(remaining, batch)):
                for row in part:
                    if row.index != count or len(row.histogram) != len(info.histogram_edges) - 1:
                        raise ValueError(
                            f"row {count} is of feature {row.index}, or its histogram has other bins"
                        )
                    count += 1
                writer.write_table(pa.Table.from_pylist([asdict(row) for row in part], schema=schema))
        if count != info.features:
            raise ValueError(f"{count} rows for {info.features} features")
        partial.replace(path)
    except OSError as error:
        raise TableError(
            f"{path} could not be written ({error}): free some space and run it again"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
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


def _broken(path: Path, error: Exception) -> TableError:
    return TableError(f"{path} cannot be read ({error}): delete it and make it again")

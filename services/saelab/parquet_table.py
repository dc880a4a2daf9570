"""What the lab's tables have in common: a Parquet file whose metadata says of what it is, and its schema's version."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from services.saelab.errors import TableError

INFO_KEY = b"hearth"
"""Of the file's metadata: JSON with the schema's version and what the table is of."""


def stored_info(path: Path, schema: pa.Schema, version: int, made_by: str) -> dict[str, Any]:
    """What the table says it is of. Raises TableError where it is missing, broken or of another schema."""
    if not path.is_file():
        raise TableError(f"no {path.name} in {path.parent}: make it with `{made_by}`")
    with reading(path):
        found = pq.read_schema(path)
        stored: dict[str, Any] = json.loads((found.metadata or {})[INFO_KEY])
    if stored.pop("version", None) != version or not found.equals(schema):
        raise TableError(f"{path} has another schema than this release of Hearth reads: make it again")
    return stored


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Inside, whatever shows that the file is broken becomes a TableError."""
    try:
        yield
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise TableError(f"{path} cannot be read ({error}): delete it and make it again") from error


def batches(path: Path, size: int, columns: list[str] | None = None) -> Iterator[list[dict[str, Any]]]:
    """The rows, `size` in memory at a time. Raises TableError where the file is broken."""
    with reading(path), pq.ParquetFile(path) as file:
        for part in file.iter_batches(size, columns=columns):
            yield part.to_pylist()


@contextmanager
def writing(path: Path, schema: pa.Schema, version: int, info: dict[str, Any]) -> Iterator[pq.ParquetWriter]:
    """A writer of the table; the file is whole or as it was. Raises TableError where the disk is full."""
    partial = path.with_suffix(".partial")
    stored = json.dumps({"version": version, **info}, ensure_ascii=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        described = schema.with_metadata({INFO_KEY: stored.encode()})
        with pq.ParquetWriter(partial, described, compression="zstd", compression_level=9) as writer:
            yield writer
        partial.replace(path)
    except OSError as error:
        raise TableError(
            f"{path} could not be written ({error}): free some space and run it again"
        ) from error
    finally:
        partial.unlink(missing_ok=True)

"""Lines of JSON and CSV files as objects that name file, line and field where something is wrong."""

from __future__ import annotations

import csv
import gzip
import json
import math
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from services.saelab.errors import LabelFileError

MOST_IN_LINE = 64 << 20
MOST_IN_ARRAY = 1 << 30
"""Characters: far more than any export has, and what a small file can be packed from (a bomb) still fits in memory."""


@dataclass(frozen=True, slots=True)
class Row:
    """One object of a file."""

    file: Path
    line: int | None
    """Counted from 1; None where the object is the whole file."""
    values: dict[str, Any]
    unit: str = "line"
    """What `line` counts."""

    @property
    def place(self) -> str:
        """Where it stands, for people."""
        return f"{self.file}, {self.unit} {self.line}" if self.line else str(self.file)

    def wrong(self, field: str, expected: str, found: object = None) -> LabelFileError:
        """The error to raise about a field; `found` is its value unless given."""
        value = self.values.get(field, "nothing") if found is None else found
        text = value if isinstance(value, str) and found is not None else repr(value)
        return LabelFileError(self.file, self.line, field, expected, text[:100], self.unit)

    def text(self, field: str) -> str:
        """A text that is not empty, without spaces around it."""
        value = self.values.get(field)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(field, "a text")
        return value.strip()

    def optional_text(self, field: str) -> str:
        """The same, or the empty text where the field is missing or null."""
        return "" if self.values.get(field) in (None, "") else self.text(field)

    def feature(self, field: str, features: int) -> int:
        """A feature's index, as a number or in digits."""
        value = self.values.get(field)
        if isinstance(value, str) and value.strip().isdecimal():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < features:
            raise self.wrong(
                field, f"the index of a feature of this SAE, a whole number from 0 to {features - 1}"
            )
        return value

    def optional_number(self, field: str, low: float = -math.inf, high: float = math.inf) -> float | None:
        """A finite number within limits, or None where the field is missing, null or empty."""
        value = self.values.get(field)
        if value in (None, ""):
            return None
        limits = "" if (low, high) == (-math.inf, math.inf) else f" from {low:g} to {high:g}"
        try:
            number = math.nan if isinstance(value, (bool, list, dict)) else float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or not low <= number <= high:
            raise self.wrong(field, f"a number{limits}, or nothing")
        return number

    def numbers(self, field: str) -> array[float]:
        """A list of finite numbers; empty where the field is missing or null."""
        value = self.values.get(field)
        try:
            numbers = array("d", [] if value is None else value)
        except TypeError:
            numbers = array("d", [math.nan])
        if not math.isfinite(sum(numbers)) or isinstance(value, str):
            raise self.wrong(field, "a list of numbers")
        return numbers

    def texts(self, field: str) -> list[str]:
        """A list of texts; empty where the field is missing or null."""
        value = self.values.get(field)
        if value is None:
            return []
        try:
            "".join(value)  # Far quicker than to look at each.
        except TypeError:
            raise self.wrong(field, "a list of texts") from None
        if not isinstance(value, list):
            raise self.wrong(field, "a list of texts")
        return value


def json_rows(path: Path) -> Iterator[Row]:
    """The objects of a file of JSON lines, or of one JSON array (.json); both may be gzipped (.gz).

    Raises LabelFileError where the file cannot be read or a line is no object.
    """
    if path.name.removesuffix(".gz").endswith(".json"):
        yield from _array(path)
        return
    for line, text in _lines(path):
        if text.strip():
            yield Row(path, line, _object(path, line, text))


def csv_rows(path: Path) -> Iterator[Row]:
    """The lines of a .csv or .tsv file with a header, which may be gzipped.

    Raises LabelFileError where the file cannot be read, or a line has more or fewer columns than the header.
    """
    delimiter = "\t" if path.name.removesuffix(".gz").endswith(".tsv") else ","
    reader = csv.reader((text for _, text in _lines(path)), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        for values in reader:
            if len(values) != len(header) and values:
                columns = f"{len(header)} columns, as in the header"
                raise LabelFileError(path, reader.line_num, "", columns, str(len(values)))
            if values:
                yield Row(path, reader.line_num, dict(zip(header, values, strict=True)))
    except csv.Error as error:
        raise LabelFileError(path, reader.line_num, "", "comma-separated values", str(error)) from error


def json_file(path: Path) -> Any:
    """The JSON value that is a whole file. Raises LabelFileError."""
    parts, size = list[str](), 0
    for _, part in _lines(path):
        size += len(part)
        if size > MOST_IN_ARRAY:
            raise LabelFileError(path, None, "", f"at most {MOST_IN_ARRAY:,} characters", "more")
        parts.append(part)
    return _parsed(path, None, "".join(parts), "JSON")


def _array(path: Path) -> Iterator[Row]:
    values = json_file(path)
    if not isinstance(values, list):
        raise LabelFileError(path, None, "", "an array of objects", type(values).__name__)
    for number, each in enumerate(values, 1):
        if not isinstance(each, dict):
            raise LabelFileError(path, number, "", "an object", type(each).__name__, "entry")
        yield Row(path, number, each, "entry")


def _object(path: Path, line: int, text: str) -> dict[str, Any]:
    values = _parsed(path, line, text, "a JSON object")
    if not isinstance(values, dict):
        raise LabelFileError(path, line, "", "a JSON object", type(values).__name__)
    return values


def _parsed(path: Path, line: int | None, text: str, expected: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise LabelFileError(path, line, "", expected, f"something else ({error})") from error
    except RecursionError:
        raise LabelFileError(path, line, "", expected, "one that is nested too deep") from None


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines, with their ends."""
    line = 0
    try:
        with _opened(path) as file:
            while text := file.readline(MOST_IN_LINE + 1):
                line += 1
                if len(text) > MOST_IN_LINE:
                    raise LabelFileError(
                        path, line, "", f"lines of at most {MOST_IN_LINE:,} characters", "a longer one"
                    )
                yield line, text
    except FileNotFoundError:
        raise LabelFileError(path, None, "", "a file", "no such file") from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        kind = "a whole gzip file of UTF-8 text" if path.suffix == ".gz" else "UTF-8 text"
        raise LabelFileError(path, line + 1, "", kind, f"something else ({error})") from error


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8-sig", newline="")

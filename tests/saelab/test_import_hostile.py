"""Label files that were made to do harm: bombs and endless nesting end in an error, not in a full memory."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from services.saelab.errors import LabelFileError
from services.saelab.importing import rows
from services.saelab.importing.rows import json_rows


def packed(path: Path, begin: bytes, megabytes: int) -> Path:
    """A gzip file that begins so, and goes on with spaces on one line."""
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(begin)
        for _ in range(megabytes):
            file.write(b" " * (1 << 20))
    return path


def test_a_line_without_end_is_refused_once_it_is_too_long(tmp_path: Path) -> None:
    file = packed(tmp_path / "labels.jsonl.gz", b"{", 80)
    assert file.stat().st_size < 1 << 20
    with pytest.raises(LabelFileError, match=r"line 1.*lines of at most 67,108,864 characters"):
        list(json_rows(file))


def test_an_array_without_end_is_refused_once_it_is_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "MOST_IN_ARRAY", 1 << 20)
    with pytest.raises(LabelFileError, match="at most 1,048,576 characters"):
        list(json_rows(packed(tmp_path / "labels.json.gz", b"[\n" * 8, 2)))


@pytest.mark.parametrize("name", ["labels.json", "labels.jsonl"])
def test_nesting_without_end_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("[" * 200_000)
    with pytest.raises(LabelFileError, match="nested too deep"):
        list(json_rows(tmp_path / name))


def test_a_compressed_file_that_is_cut_is_named(tmp_path: Path) -> None:
    file = packed(tmp_path / "labels.jsonl.gz", b"{}\n", 1)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(LabelFileError, match="a whole gzip file"):
        list(json_rows(file))

from __future__ import annotations

from pathlib import Path

import pytest

from services.saelab.errors import RunMismatch, SaeLabError
from services.saelab.journal import Journal

RUN = {"seed": 1, "model": "m"}
ROWS = [{"feature": 3, "text": "café\n"}, {"feature": 4}]


def written(path: Path) -> Journal:
    journal = Journal(path, RUN)
    journal.add(ROWS[:1])
    journal.add(ROWS[1:])
    journal.close()
    return journal


def test_rows_are_there_again_in_order(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "j.jsonl"
    assert written(path).rows == ROWS
    assert Journal(path, RUN).rows == ROWS


def test_a_line_that_a_kill_cut_off_is_dropped_and_written_again(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    written(path)
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        journal = Journal(path, RUN)
        lines = whole[:cut].count(b"\n")
        assert journal.rows == ROWS[: max(0, lines - 1)]
        journal.add(ROWS[len(journal.rows) :])
        journal.close()
        assert path.read_bytes() == whole


def test_another_run_and_broken_lines_are_told(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    written(path)
    with pytest.raises(RunMismatch, match="seed"):
        Journal(path, RUN | {"seed": 2})
    path.write_bytes(path.read_bytes().replace(b"{", b"<", 1))
    with pytest.raises(SaeLabError, match="broken"):
        Journal(path, RUN)
    with pytest.raises(SaeLabError, match="cannot be used"):
        Journal(tmp_path, RUN)


def test_only_one_process_writes_it_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    journal = Journal(path, RUN)
    with pytest.raises(SaeLabError, match="another process goes on with"):
        Journal(path, RUN)
    journal.add(ROWS)
    journal.close()
    assert Journal(path, RUN).rows == ROWS

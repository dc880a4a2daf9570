from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.saelab import label_table
from services.saelab.errors import TableError
from services.saelab.label_table import LONGEST, UNLABELLED, Label, LabelTableInfo, shortened

INFO = LabelTableInfo("tiny", "d1", 2, "0.1.0", {"label": {"explainer": "offline"}})
SEA = Label(
    0,
    "the sea",
    "Fires on “sea” and “océan”.",
    "offline",
    score=0.75,
    fuzzing=0.5,
    null=0.625,
    p_value=0.03125,
    confidence=0.25,
    evidence="judge offline; 40 contexts",
    created=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
)
BARE = Label(1, "", "", "offline")


def test_what_is_written_reads_back_the_same(tmp_path: Path) -> None:
    label_table.write(tmp_path, INFO, iter([SEA, BARE]))
    table = label_table.read(tmp_path)
    assert table.info == INFO
    assert list(table) == [SEA, BARE]
    assert [path.name for path in tmp_path.iterdir()] == [label_table.LABELS]


def test_a_refuted_label_says_so_and_can_be_tested_again() -> None:
    refuted = SEA.tested(False)
    assert refuted.label == "unlabelled: the sea"
    assert not refuted.is_labelled
    assert refuted.tested(False) == refuted
    assert refuted.tested(True) == SEA
    assert not BARE.is_labelled


def test_a_refuted_label_still_fits() -> None:
    long = replace(SEA, label="word " * 15 + "words")
    assert len(long.label) == LONGEST
    refuted = long.tested(False).label
    assert len(refuted) <= LONGEST
    assert refuted.startswith(UNLABELLED)
    assert refuted.endswith("word…")


def test_text_is_cut_between_words() -> None:
    assert shortened("ships,  and\nsails", 80) == "ships, and sails"
    assert shortened("ships, and sails", 9) == "ships…"
    assert shortened("abcdefgh", 4) == "abc…"


@pytest.mark.parametrize(
    "labels", [[SEA], [BARE, SEA], [SEA, replace(BARE, label="x" * 81)]], ids=["few", "order", "long"]
)
def test_labels_that_are_no_table_are_refused(tmp_path: Path, labels: list[Label]) -> None:
    with pytest.raises(ValueError, match="label"):
        label_table.write(tmp_path, INFO, labels)
    assert not list(tmp_path.iterdir())


def test_a_missing_and_a_broken_table_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="make it with `hearth sae label`"):
        label_table.read(tmp_path)
    path = label_table.write(tmp_path, INFO, [SEA, BARE])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(TableError, match="delete it and make it again"):
        label_table.read(tmp_path)

from __future__ import annotations

import ast
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from services.saelab import feature_table
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

INFO = FeatureTableInfo(
    sae_id="tiny",
    weights_digest="d1",
    model="org/model",
    hook_point="model.layers.1",
    features=3,
    histogram_edges=(0.25, 0.5, 1.0),
    texts_digest="d2",
    text_tokens=1000,
    reference_tokens=2000,
    hearth_version="0.1.0",
    settings={"examples": {"top": 2}, "strengths": [0.5]},
)
FULL = FeatureRow(
    index=1,
    density=0.25,
    scale=3.5,
    max_activation=4.25,
    histogram=(7, 2),
    feature_class=FeatureClass.LEXICAL,
    output_score=0.75,
    steering=(Dose(0.5, 1.5, 0.25, 1.0), Dose(0.75, 2.5, 1.25, 0.5)),
    steerability=1.5,
    promoted=(TokenWeight(" mer", 12, 2.5), TokenWeight(" océan", 13, 2.25)),
    suppressed=(TokenWeight("\n", 3, -1.5),),
    examples=(
        Example("top", 1.0, (" the", " sea", "\n"), (0.0, 4.25, 0.5), 1, "assistant", "ab12"),
        Example("quantile", 0.5, ("sea",), (2.0,), 0, "", "cd34"),
    ),
    decoder_neighbors=(Neighbor(2, 0.5),),
    coactivation_neighbors=(Neighbor(0, 0.125), Neighbor(2, 0.0625)),
)
DEAD = FeatureRow(0, 0.0, 1.0, 0.0, (0, 0), FeatureClass.DEAD)
ROWS = [DEAD, FULL, replace(DEAD, index=2)]


def test_what_is_written_reads_back_the_same(tmp_path: Path) -> None:
    feature_table.write(tmp_path, INFO, iter(ROWS), batch=2)
    table = feature_table.read(tmp_path)
    assert table.info == INFO
    assert len(table) == 3
    assert list(table) == ROWS
    assert list(table.rows(batch=1)) == ROWS
    assert [path.name for path in tmp_path.iterdir()] == [feature_table.FEATURES]


def test_columns_left_out_are_not_read(tmp_path: Path) -> None:
    feature_table.write(tmp_path, INFO, ROWS)
    rows = list(feature_table.read(tmp_path).rows(columns=["promoted", "density"]))
    assert rows[1] == replace(
        FeatureRow(1, 0.25, 3.5, 4.25, (7, 2), FeatureClass.LEXICAL), promoted=FULL.promoted
    )


def test_the_schema_has_a_column_for_each_field_and_is_stored_with_zstd(tmp_path: Path) -> None:
    path = feature_table.write(tmp_path, INFO, ROWS)
    assert feature_table.SCHEMA.names == list(asdict(FULL))
    found = pq.ParquetFile(path)
    assert found.schema_arrow.equals(feature_table.SCHEMA)
    assert found.metadata.row_group(0).column(0).compression == "ZSTD"


@pytest.mark.parametrize(
    "rows",
    [
        ROWS[:2],
        [ROWS[1], ROWS[0], ROWS[2]],
        [*ROWS, replace(DEAD, index=3)],
        [replace(DEAD, histogram=(0,)), *ROWS[1:]],
    ],
    ids=["too few", "out of order", "too many", "other bins"],
)
def test_rows_that_are_not_those_announced_leave_no_file(tmp_path: Path, rows: list[FeatureRow]) -> None:
    feature_table.write(tmp_path, INFO, ROWS)
    before = (tmp_path / feature_table.FEATURES).read_bytes()
    with pytest.raises(ValueError, match="row"):
        feature_table.write(tmp_path, INFO, rows)
    assert (tmp_path / feature_table.FEATURES).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [feature_table.FEATURES]


def test_a_missing_a_broken_and_a_foreign_table_are_told(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="hearth sae features"):
        feature_table.read(tmp_path)
    path = feature_table.write(tmp_path, INFO, ROWS)
    pq.write_table(pq.read_table(path).drop_columns(["density"]), path)
    with pytest.raises(TableError, match="another schema"):
        feature_table.read(tmp_path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(TableError, match="cannot be read"):
        feature_table.read(tmp_path)


def test_damage_in_the_middle_is_told_while_reading(tmp_path: Path) -> None:
    path = feature_table.write(tmp_path, INFO, ROWS)
    data = bytearray(path.read_bytes())
    data[4:400] = bytes(396)
    path.write_bytes(data)
    with pytest.raises(TableError, match="cannot be read"):
        list(feature_table.read(tmp_path))


def test_the_table_is_read_without_torch() -> None:
    for name in ("feature_table", "feature_rows", "label_table", "parquet_table", "errors"):
        source = Path(feature_table.__file__).with_name(f"{name}.py").read_text("utf-8")
        imported = [
            node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        assert not any("torch" in str(module) or "inference" in str(module) for module in imported)

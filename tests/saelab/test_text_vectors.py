"""Sentence vectors that are shipped with an SAE's tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from services.saelab import text_vectors
from services.saelab.errors import TableError


def vectors(count: int, width: int = 384) -> dict[str, NDArray[np.float32]]:
    """Directions as an encoder makes them, by text."""
    rows = np.random.default_rng(0).standard_normal((count, width)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return {f"text {number} über": row for number, row in enumerate(rows)}


def test_a_vector_reads_back_with_its_direction_and_norm_1(tmp_path: Path) -> None:
    written = vectors(50)
    text_vectors.write(tmp_path, "minilm@1", written)
    table = text_vectors.read(tmp_path)
    assert table is not None
    assert (table.encoder, len(table)) == ("minilm@1", 50)
    for text, vector in written.items():
        found = table.get(text)
        assert found is not None
        assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)
        assert found @ vector > 0.9999
    assert table.get("another text") is None


def test_two_texts_for_each_of_4096_features_stay_below_3_5_megabytes(tmp_path: Path) -> None:
    assert text_vectors.write(tmp_path, "minilm@1", vectors(2 * 4096)).stat().st_size < 3_500_000


def test_the_same_vectors_give_the_same_bytes_in_whatever_order(tmp_path: Path) -> None:
    written = vectors(20)
    first = text_vectors.write(tmp_path, "e", written).read_bytes()
    assert text_vectors.write(tmp_path, "e", dict(reversed(written.items()))).read_bytes() == first


def test_without_a_file_there_are_none_and_a_broken_one_is_told(tmp_path: Path) -> None:
    assert text_vectors.read(tmp_path) is None
    path = text_vectors.write(tmp_path, "e", vectors(3))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TableError, match=r"vectors\.safetensors cannot be read"):
        text_vectors.read(tmp_path)


def test_what_is_no_direction_is_refused_and_the_old_file_stays(tmp_path: Path) -> None:
    before = text_vectors.write(tmp_path, "e", vectors(3)).read_bytes()
    for wrong in (np.zeros(4), np.array([np.nan, 1, 0, 0])):
        with pytest.raises(ValueError, match="no direction"):
            text_vectors.write(tmp_path, "e", {"a": wrong.astype(np.float32)})
    assert [path.name for path in tmp_path.iterdir()] == ["vectors.safetensors"]
    assert (tmp_path / "vectors.safetensors").read_bytes() == before

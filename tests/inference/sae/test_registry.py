"""The registry finds formats by name and by their files, and lists the choices where it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.inference.sae.base import Sae
from services.inference.sae.errors import UnknownSaeFormat
from services.inference.sae.formats import FORMATS, load_sae
from services.inference.sae.registry import FormatRegistry, LoadOptions, SaeFormat
from tests.inference.sae.file_writers import (
    gemma_scope_file,
    goodfire_file,
    later_llama_scope_folder,
    llama_scope_folder,
    saelens_folder,
    sparsify_folder,
)


def unreadable(path: Path, options: LoadOptions) -> Sae:
    raise NotImplementedError


def test_each_format_is_detected_by_its_files(tmp_path: Path) -> None:
    assert FORMATS.detect(saelens_folder(tmp_path / "a", "standard")).name == "saelens"
    assert FORMATS.detect(gemma_scope_file(tmp_path / "b")).name == "gemma_scope"
    assert FORMATS.detect(goodfire_file(tmp_path / "c.pth")).name == "goodfire"
    assert FORMATS.detect(sparsify_folder(tmp_path / "d")).name == "sparsify"
    assert FORMATS.detect(llama_scope_folder(tmp_path / "e")).name == "llama_scope"
    assert FORMATS.detect(later_llama_scope_folder(tmp_path / "f")).name == "llama_scope"


def test_a_name_is_registered_once() -> None:
    registry = FormatRegistry()
    registry.register(SaeFormat("mine", Path.exists, unreadable))
    with pytest.raises(ValueError, match=r"'mine' is registered already; known: mine"):
        registry.register(SaeFormat("mine", Path.exists, unreadable))


def test_an_unknown_name_lists_the_choices(tmp_path: Path) -> None:
    with pytest.raises(
        UnknownSaeFormat, match=r"'other'.*gemma_scope, goodfire, llama_scope, saelens, sparsify"
    ):
        load_sae(saelens_folder(tmp_path, "standard"), format_name="other")


def test_a_path_of_no_format_lists_the_choices(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"")
    with pytest.raises(
        UnknownSaeFormat, match=r"no SAE of a known format; known formats: gemma_scope, goodfire"
    ):
        load_sae(tmp_path)
    with pytest.raises(UnknownSaeFormat, match="does not exist"):
        load_sae(tmp_path / "nowhere")


def test_a_path_of_two_formats_asks_for_a_name(tmp_path: Path) -> None:
    folder = sparsify_folder(saelens_folder(tmp_path / "layers.1", "standard"))
    with pytest.raises(UnknownSaeFormat, match="could be saelens and sparsify: name the format"):
        load_sae(folder)
    assert load_sae(folder, format_name="sparsify").layer == 1

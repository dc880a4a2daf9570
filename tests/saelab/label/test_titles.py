from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from services.saelab.label import titles
from services.saelab.label.titles import TitleFinder
from services.saelab.sources import Source
from tests.saelab.label.made_texts import MadeBench, bag_of_stems


@pytest.fixture
def finder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TitleFinder:
    """An encyclopaedia of four titles in a package that is there already."""
    source = Source(
        "wiki-en",
        "pip",
        "tiny-wiki==1.0",
        ("*/en.json",),
        "json",
        "free",
        "encyclopaedia",
        "en",
        ("extract",),
    )
    monkeypatch.setattr(titles, "load_sources", lambda: [source])
    package = tmp_path / "tiny_wiki-1.0-py3-none-any.whl"
    pages = ["Court", "Ship", "Harbour of Sail", "Old Ship (film)"]
    with zipfile.ZipFile(package, "w") as wheel:
        wheel.writestr("tiny_wiki/en.json", json.dumps([{"title": t, "extract": f"A {t}."} for t in pages]))
    monkeypatch.setattr(titles, "fetch", lambda source, folder: [package])
    return TitleFinder.load(MadeBench(tmp_path), tmp_path)


def test_the_title_is_of_what_contexts_have_in_common_and_sets_them_apart(finder: TitleFinder) -> None:
    texts = ["the ship went out with old trees", "a ship near a road", "then the ship was late"]
    assert finder.nearest(bag_of_stems(texts)) == "Ship"


def test_there_is_no_title_where_none_is_near(finder: TitleFinder) -> None:
    assert finder.nearest(bag_of_stems(["we saw some", "a long road", "it was late again"])) == ""


def test_only_titles_of_concepts_are_taken(finder: TitleFinder) -> None:
    assert finder.nearest(bag_of_stems(["harbour of sail", "sail harbour", "the harbour of a sail"])) == ""

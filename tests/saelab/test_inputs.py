"""What users have becomes documents, and what is no document is named by file, row and column."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from services.saelab.cli import sae_app
from services.saelab.corpus import CorpusSettings, build_corpus
from services.saelab.documents import TRAIN, Document, Message, document_id, read_documents, write_documents
from services.saelab.errors import CorpusError
from services.saelab.inputs import documents_of

TURNS = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]
SHAREGPT = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."}]
CHAT = (Message("user", "Why?"), Message("assistant", "Because."))


def write_parquet(path: Path, **columns: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table(columns), path, row_group_size=2)
    return path


def write_rows(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return path


def texts(name: object) -> list[str]:
    return [document.text for document in documents_of(str(name))]


def test_parquet_gives_the_documents_that_the_same_json_lines_give(tmp_path: Path) -> None:
    rows = [{"text": f"Text {n}.", "n": n} for n in range(5)]
    lines = write_rows(tmp_path / "a.jsonl", *rows)
    table = write_parquet(tmp_path / "a.parquet", n=list(range(5)), text=[row["text"] for row in rows])
    assert list(documents_of(str(table))) == list(documents_of(str(lines)))
    assert [document.source for document in documents_of(str(table))] == ["a"] * 5


def test_messages_are_read_in_both_spellings_and_before_text(tmp_path: Path) -> None:
    lines = write_rows(tmp_path / "a.jsonl", {"text": "x", "messages": TURNS}, {"conversations": SHAREGPT})
    table = write_parquet(tmp_path / "b.parquet", messages=[TURNS])
    for name in (lines, table):
        assert {document.messages for document in documents_of(str(name))} == {CHAT}


def test_another_column_is_named_behind_a_colon(tmp_path: Path) -> None:
    table = write_parquet(tmp_path / "a.parquet", body=["One.", "Two."], title=["1", "2"])
    assert texts(f"{table}:body") == ["One.", "Two."]
    assert texts(f"{write_rows(tmp_path / 'a.jsonl', {'body': 'One.'})}:body") == ["One."]


def test_rows_whose_column_is_null_are_passed_over(tmp_path: Path) -> None:
    assert texts(write_parquet(tmp_path / "a.parquet", text=["One.", None, "Two."])) == ["One.", "Two."]


def test_a_folder_of_a_downloaded_data_set_is_read_file_by_file(tmp_path: Path) -> None:
    folder = tmp_path / "tales"
    write_parquet(folder / "data" / "train-00001.parquet", text=["Two."])
    write_parquet(folder / "data" / "train-00000.parquet", text=["One."])
    (folder / "README.md").write_text("# Tales", encoding="utf-8")
    (folder / "more.txt").write_text("Three.", encoding="utf-8")
    with pyarrow.OSFile(str(folder / "data.arrow"), "wb") as sink:
        saved = pyarrow.table({"text": ["Zero."]})
        with pyarrow.ipc.new_stream(sink, saved.schema) as stream:
            stream.write_table(saved)
    found = list(documents_of(str(folder)))
    assert [document.text for document in found] == ["One.", "Two.", "Zero.", "Three."]
    assert {document.source for document in found} == {"tales"}


def test_what_the_model_wrote_keeps_its_source(tmp_path: Path) -> None:
    path = tmp_path / "written.jsonl"
    write_documents(path, [Document(document_id("Ahoy."), "self-written", "Ahoy.")])
    (document,) = documents_of(str(path))
    assert (document.source, document.text) == ("self-written", "Ahoy.")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"words": "x"}, r"line 2 has neither `text` nor `messages`; it has 'words'"),
        ({"text": 7}, r"line 2, column 'text': expected text or a list of messages .* found int 7"),
        ({"messages": [{"role": "user"}]}, r"line 2, column 'messages': expected .* found list"),
        ({"messages": [{"role": "user", "content": None}]}, r"line 2, column 'messages': expected"),
        ([1], r"line 2 is no JSON object"),
    ],
)
def test_a_row_that_is_no_document_is_named_with_its_column(tmp_path: Path, row: object, said: str) -> None:
    path = write_rows(tmp_path / "a.jsonl", {"text": "fine"}, row)
    with pytest.raises(CorpusError, match=r"a\.jsonl, " + said):
        texts(path)


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "fine"}\n\n{"text": "\xff"}\n')
    with pytest.raises(CorpusError, match=r"a\.jsonl, line 3 is no JSON"):
        texts(path)


def test_a_column_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    table = write_parquet(tmp_path / "a.parquet", body=["One."], title=["1"])
    with pytest.raises(CorpusError, match=r"a\.parquet, row 1 has no column 'text'; it has 'body', 'title'"):
        texts(f"{table}:text")
    with pytest.raises(CorpusError, match=r"row 1 has neither `text` nor `messages`; it has 'body', 'title'"):
        texts(table)


def test_a_broken_parquet_file_is_named(tmp_path: Path) -> None:
    table = write_parquet(tmp_path / "a.parquet", text=[f"Text {n}. " * 50 for n in range(2000)])
    whole = table.read_bytes()
    table.write_bytes(whole[:-100])
    with pytest.raises(CorpusError, match=r"a\.parquet is no Parquet file"):
        texts(table)
    table.write_bytes(whole[:500] + bytes(900) + whole[1400:])
    with pytest.raises(CorpusError, match=r"a\.parquet is broken after row"):
        texts(table)


def test_what_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"nothing\.txt cannot be read"):
        texts(tmp_path / "nothing.txt")
    with pytest.raises(CorpusError, match="holds no documents"):
        texts(tmp_path)
    (tmp_path / "a.txt").write_text("x", encoding="utf-8")
    with pytest.raises(CorpusError, match="has no columns"):
        texts(f"{tmp_path / 'a.txt'}:text")


def test_a_data_set_of_the_hub_without_its_library_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    result = CliRunner().invoke(sae_app, ["corpus", "hf:owner/tales", "--out", str(tmp_path), "--no-sources"])
    assert result.exit_code == 1
    assert "install hearth[datasets]" in " ".join(result.output.split())


def test_a_data_set_is_named_by_owner_config_split_and_column() -> None:
    with pytest.raises(CorpusError, match=r"expected hf:owner/name\[:config\]\[:split\]\[:column\]"):
        texts("hf:owner/tales:a:b:c:d")


def test_a_data_set_streams_through_its_library(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    write_parquet(tmp_path / "tales" / "train.parquet", body=["One.", "Two."])
    write_parquet(tmp_path / "tales" / "test.parquet", body=["Three."])
    assert texts(f"hf:{tmp_path / 'tales'}:::body") == ["One.", "Two."]
    assert texts(f"hf:{tmp_path / 'tales'}::test:body") == ["Three."]
    with pytest.raises(CorpusError, match="cannot be had"):
        texts(f"hf:{tmp_path / 'tales'}::nowhere:body")


def test_an_input_is_read_until_the_training_part_is_full(tmp_path: Path) -> None:
    table = write_parquet(
        tmp_path / "a.parquet", text=[f"Number {n}. " + "Some words follow. " * 20 for n in range(200)]
    )
    manifest = build_corpus(
        CorpusSettings(tmp_path / "c", (table,), sources=False, characters=20_000, heldout_share=0.2)
    )
    train = list(read_documents(tmp_path / "c" / TRAIN))
    assert 20_000 <= sum(document.characters for document in train) < 20_500
    assert manifest["cut"] == ["a.parquet"]
    assert manifest["settings"]["files"] == ["a.parquet"]

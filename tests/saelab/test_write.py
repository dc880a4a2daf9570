"""The model writes itself: what it is asked, what is kept, and that a killed run ends as one that was not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from services.saelab.cli import sae_app
from services.saelab.documents import read_documents
from services.saelab.errors import CorpusError, RunMismatch, SaeLabError
from services.saelab.write import write
from services.saelab.write_desk import _whole_sentences
from services.saelab.write_prompts import PIECE, Assignment, load_prompts
from services.saelab.write_settings import Status, WriteSettings
from services.saelab.written import Answer, Answers, Drafts, assemble, document_of, fault
from tests.saelab.tiny_lab import WORDS

PROSE = (
    "The old man went down to the harbour, where a boat was waiting for him and his dog in the morning sun."
)

PROMPTS = """
subjects = { sea = ["a ship", "a wave"], law = ["a king"] }
[[form]]
name = "tale"
weight = 1
tokens = 40
ask = ["{subject}?", "Tell {subject}."]
[registers]
say = ["Be sad."]
[systems]
say = ["Sing."]
[followups]
tokens = 30
say = ["Why?", "And then?", "{Subject}!"]
[pieces]
tokens = 27
about = ["{Subject} was"]
free = ["The sea"]
"""


@pytest.fixture(scope="module")
def writer_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a head that draws whole words, most of all: bytes alone are garbled."""
    folder = tmp_path_factory.mktemp("writer") / "model"
    shutil.copytree(tiny_model, folder)
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    words = {vocabulary[f"Ġ{word}"] for word in WORDS if f"Ġ{word}" in vocabulary}
    weights = load_file(folder / "model.safetensors")
    head = weights["lm_head.weight"]
    others = torch.tensor([token not in words for token in range(len(head))])
    head *= 0.15
    head[others] = 0.0
    # A dimension that is large at every token: the head reads it in favour of words, some more than others, and
    # against all else.
    weights["model.embed_tokens.weight"][:, 0] = 40.0
    head[:, 0] = -1.0
    head[~others, 0] = torch.linspace(1.0, 1.6, len(words))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prompts") / "prompts.toml"
    path.write_text(PROMPTS, encoding="utf-8")
    return path


def settings(out: Path, model: Path, prompts: Path, **changes: object) -> WriteSettings:
    defaults = {"tokens": 300, "top_p": 1.0, "rows": 4, "prompts": prompts}
    return WriteSettings(out / "written.jsonl", str(model), **(defaults | changes))  # type: ignore[arg-type]


def test_the_model_writes_chats_and_pieces_until_there_are_enough_tokens(
    writer_model: Path, prompts: Path, tmp_path: Path
) -> None:
    seen: list[Status] = []
    written = write(settings(tmp_path, writer_model, prompts, tokens=600), seen.append)
    assert list(read_documents(tmp_path / "written.jsonl")) == written.documents
    assert written.tokens >= 600
    assert {document.source for document in written.documents} == {"self-written"}
    chats = [document for document in written.documents if document.is_chat]
    pieces = [document for document in written.documents if not document.is_chat]
    assert any(len(document.messages) > 3 for document in chats)
    assert all(document.messages[-1].role == "assistant" for document in chats)
    assert any(document.text.startswith(("A ship was", "The sea")) for document in pieces)
    assert all(any(word in document.text for word in WORDS) for document in pieces)
    assert seen[-1].tokens >= 600
    assert seen[-1].tokens_per_second > 0


def test_a_killed_run_goes_on_and_ends_as_one_that_was_not_killed(
    writer_model: Path, prompts: Path, tmp_path: Path
) -> None:
    whole = write(settings(tmp_path / "whole", writer_model, prompts))
    script = f"""
        from pathlib import Path
        from services.saelab import write, write_desk
        from services.saelab.write_settings import WriteSettings
        write_desk.SAVE_SECONDS = 0.0
        write.write(WriteSettings(Path({str(tmp_path / "cut" / "written.jsonl")!r}), {str(writer_model)!r}, 10**9,
                                  top_p=1.0, rows=4, prompts=Path({str(prompts)!r})),
                    lambda status: print(status.documents, flush=True))
    """
    journal = tmp_path / "cut" / "written.journal.jsonl"
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any(int(line) >= 3 for line in process.stdout)
        process.kill()
    before = journal.read_bytes()
    kept = before[: before.rfind(b"\n") + 1]
    # What a kill in the middle of a line leaves.
    journal.write_bytes(kept + b'{"number": 3, "te')
    drafts = json.loads((tmp_path / "cut" / "written.drafts.json").read_text())["drafts"]
    assert any(draft["tokens"] for draft in drafts.values())
    again = write(settings(tmp_path / "cut", writer_model, prompts))
    assert again.documents == whole.documents
    assert journal.read_bytes().startswith(kept)


def test_a_draft_is_gone_on_with_from_its_last_token(
    writer_model: Path, prompts: Path, tmp_path: Path
) -> None:
    write(settings(tmp_path, writer_model, prompts, tokens=50))
    run, *rows = map(json.loads, (tmp_path / "written.journal.jsonl").read_text().splitlines())
    number = max(row["number"] for row in rows) + 1
    ship = json.loads((writer_model / "tokenizer.json").read_text())["model"]["vocab"]["Ġship"]
    drafts = Drafts(tmp_path / "written.drafts.json", run)
    drafts.of(number, 0).tokens[:] = [ship] * 5
    drafts.save()
    write(settings(tmp_path, writer_model, prompts, tokens=300))
    _, *rows = map(json.loads, (tmp_path / "written.journal.jsonl").read_text().splitlines())
    (text,) = [row["text"] for row in rows if row["number"] == number][:1]
    assert text.split()[:5] == ["ship"] * 5
    assert len(text.split()) > 5


def test_drafts_of_another_run_are_not_taken_up(tmp_path: Path) -> None:
    drafts = Drafts(tmp_path / "d.json", {"seed": 0})
    drafts.of(7, 0).tokens.append(3)
    drafts.save()
    assert Drafts(tmp_path / "d.json", {"seed": 0}).of(7, 0).tokens == [3]
    assert Drafts(tmp_path / "d.json", {"seed": 0}).of(7, 1).tokens == []
    assert Drafts(tmp_path / "d.json", {"seed": 1}).of(7, 0).tokens == []


def test_the_same_text_comes_whatever_is_written_beside_it(
    writer_model: Path, prompts: Path, tmp_path: Path
) -> None:
    one = write(settings(tmp_path / "one", writer_model, prompts, tokens=200, rows=1))
    many = write(settings(tmp_path / "many", writer_model, prompts, tokens=200, rows=16))
    other = write(settings(tmp_path / "other", writer_model, prompts, tokens=200, seed=1))
    assert one.documents == many.documents
    assert one.documents != other.documents


def test_more_tokens_go_on_and_fewer_cut(writer_model: Path, prompts: Path, tmp_path: Path) -> None:
    first = write(settings(tmp_path, writer_model, prompts, tokens=200))
    lines = (tmp_path / "written.journal.jsonl").read_bytes()
    more = write(settings(tmp_path, writer_model, prompts, tokens=400))
    assert more.documents[: len(first.documents)] == first.documents
    assert len(more.documents) > len(first.documents)
    assert (tmp_path / "written.journal.jsonl").read_bytes().startswith(lines)
    assert write(settings(tmp_path, writer_model, prompts, tokens=200)).documents == first.documents


def test_another_seed_is_another_run(writer_model: Path, prompts: Path, tmp_path: Path) -> None:
    write(settings(tmp_path, writer_model, prompts, tokens=50))
    with pytest.raises(RunMismatch, match="different: seed"):
        write(settings(tmp_path, writer_model, prompts, tokens=50, seed=1))


def test_a_model_that_writes_nothing_fit_is_given_up(
    tiny_model: Path, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.saelab.write_desk._TRIED", 12)
    with pytest.raises(SaeLabError, match="hardly anything fit"):
        write(settings(tmp_path, tiny_model, prompts))


def test_the_command_writes_and_tells_what_was_left_out(
    writer_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEARTH_CACHE", str(tmp_path / "cache"))
    options = ["--model", str(writer_model), "--tokens", "150", "--top-p", "1", "--rows", "4"]
    result = CliRunner().invoke(sae_app, ["write", *options])
    assert result.exit_code == 0, result.output
    assert list(read_documents(tmp_path / "cache" / "saelab" / "written" / "written.jsonl"))
    assert "left out" in result.output


@pytest.mark.model
def test_the_embedded_model_writes_fit_text_at_temperature_1(
    tmp_path: Path, embedded_model: Path, prompts: Path
) -> None:
    written = write(
        WriteSettings(tmp_path / "written.jsonl", str(embedded_model), 60, prompts=prompts, rows=4)
    )
    assert written.tokens >= 60
    assert all(document.characters > 40 for document in written.documents)


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (Answer(PROSE, 24, 2.0), ""),
        (Answer("Yes, I do.", 5, 1.0), "too short"),
        (Answer(PROSE + " \ufffd", 25, 2.0), "garbled"),
        (Answer("a b c d e f g h " + "*&^% $#@! " * 9, 60, 2.0), "garbled"),
        (Answer(PROSE, 24, 3.4), "word salad"),
        (Answer(PROSE, 24, 0.1), "repeats itself"),
        (Answer("He went home and slept. " * 9, 60, 0.9), "repeats itself"),
    ],
)
def test_unfit_answers_are_named(answer: Answer, wrong: str) -> None:
    assert fault(answer) == wrong


def test_a_conversation_ends_before_the_first_unfit_answer() -> None:
    asked = Assignment(0, "s", "tale", ("Tell me.", "Why?", "And?"), (9, 9, 9), "Be kind.")
    good, bad = Answer(PROSE, 24, 2.0), Answer("No.", 2, 1.0)
    document, tokens, wrong = document_of(asked, [good, bad, good])
    assert document is not None
    assert [message.role for message in document.messages] == ["system", "user", "assistant"]
    assert (tokens, wrong) == (24, "")
    assert document_of(asked, [bad]) == (None, 0, "too short")


def test_documents_come_in_order_up_to_the_first_gap_and_never_twice() -> None:
    def asked(number: int) -> Assignment:
        return Assignment(number, "", PIECE, tokens=(9,), opening="Once")

    answers = {n: [Answer(f"{PROSE} {'x' if n == 1 else n}", 24, 2.0)] for n in (0, 1, 2, 4)}
    answers[2] = answers[0]
    written = assemble(answers, asked, 1000)
    assert [document.text[-1] for document in written.documents] == ["0", "x"]
    assert written.left_out == {"already there": 1}
    assert len(assemble(answers, asked, 24).documents) == 1


def test_a_line_that_is_no_answer_is_named(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_text('{"seed": 0}\n{"number": 0}\n', encoding="utf-8")
    with pytest.raises(CorpusError, match=r"j\.jsonl, line 2"):
        Answers(path, {"seed": 0})


def test_text_that_was_cut_off_ends_with_a_sentence() -> None:
    assert _whole_sentences('He said "no." Then he le') == 'He said "no."'
    assert _whole_sentences("One. And a very long rest without an end") == (
        "One. And a very long rest without an end"
    )


def test_prompts_are_many_and_cover_every_subject_before_one_comes_again() -> None:
    table = load_prompts()
    count = len(table.themed)
    assert count >= 150
    assert len({subject for _, subject in table.themed}) == count
    asked = [table.assignment(0, number) for number in range(3 * count)]
    assert asked[:50] == [load_prompts().assignment(0, number) for number in range(50)]
    assert len({one.subject for one in asked[:count] if one.subject}) > 0.85 * count
    assert 0.2 < sum(bool(one.opening) for one in asked) / len(asked) < 0.4
    assert 0.1 < sum(one.turns > 1 for one in asked) / len(asked) < 0.35
    assert {form.name for form in table.forms} <= {one.form for one in asked}
    assert len({one.asks[0] for one in asked if one.asks}) > 0.95 * sum(bool(one.asks) for one in asked)
    assert not any("{" in text for one in asked for text in (*one.asks, one.opening))


def test_recipes_are_asked_of_food_alone() -> None:
    table = load_prompts()
    food = {subject for theme in ("food", "drink", "farming") for subject in table.subjects[theme]}
    recipes = [one for n in range(2000) if (one := table.assignment(3, n)).form == "recipe"]
    assert recipes
    assert {one.subject for one in recipes} <= food


def test_a_form_with_an_unknown_theme_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prompts.toml"
    path.write_text(PROMPTS.replace("weight = 1", 'weight = 1\nonly = ["see"]'), encoding="utf-8")
    with pytest.raises(CorpusError, match="no theme of the table: see"):
        load_prompts(path)

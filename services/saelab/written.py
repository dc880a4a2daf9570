"""Text that the model wrote itself: the journal of its answers, which of them are fit to use, and the documents."""

from __future__ import annotations

import errno
import json
import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

from services.saelab.documents import SELF_WRITTEN, Document, Message, document_id
from services.saelab.errors import CorpusError, RunMismatch, SaeLabError
from services.saelab.steer import distinct_runs
from services.saelab.write_prompts import Assignment

SHORTEST_WORDS = 8
"""An answer with fewer words is left out,"""
DISTINCT = 0.8
"""and one of whose runs of three words fewer are different,"""
LETTERS = 0.5
"""and one of whose characters, spaces aside, fewer are letters or digits,"""
SURPRISE = (0.3, 2.6)
"""and one that surprised the model less (it copies what stands before) or more (word salad), in nats a token."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model wrote at one turn."""

    text: str
    tokens: int
    """Length of the text. 0, with no text, where the conversation had no room for an answer."""
    surprise: float
    """Mean negative log-likelihood of what was drawn, in nats a token, under the model itself."""


@dataclass(frozen=True, slots=True)
class Written:
    """The documents of a run so far."""

    documents: list[Document]
    tokens: int
    """Tokens that the model wrote, in these documents."""
    left_out: Counter[str]
    """Documents that were left out, by what is wrong with them."""


def fault(answer: Answer) -> str:
    """What makes an answer unfit: `too short`, `garbled`, `word salad`, `repeats itself`; empty where nothing does."""
    words = re.findall(r"\w+", answer.text)
    if len(words) < SHORTEST_WORDS:
        return "too short"
    signs = re.sub(r"\s", "", answer.text)
    if "\ufffd" in answer.text or sum(sign.isalnum() for sign in signs) < LETTERS * len(signs):
        return "garbled"
    least, most = SURPRISE
    if answer.surprise > most:
        return "word salad"
    repeats = answer.surprise < least or distinct_runs(answer.text) < DISTINCT
    return "repeats itself" if repeats else ""


def is_complete(assignment: Assignment, answers: list[Answer]) -> bool:
    """Whether nothing more is to be written: all turns are, or the last answer leads nowhere."""
    return len(answers) >= assignment.turns or bool(answers and fault(answers[-1]))


def document_of(assignment: Assignment, answers: list[Answer]) -> tuple[Document | None, int, str]:
    """The document with the tokens that the model wrote in it, or None with what is wrong with the first answer.

    A conversation ends before the first answer that is at fault.
    """
    wrong = [fault(answer) for answer in answers]
    fit = next((turn for turn, name in enumerate(wrong) if name), len(wrong))
    if not fit:
        return None, 0, wrong[0]
    tokens = sum(answer.tokens for answer in answers[:fit])
    if assignment.opening:
        text = assignment.opening + answers[0].text
        return Document(document_id(text), SELF_WRITTEN, text), tokens, ""
    messages = [Message("system", assignment.system)] if assignment.system else []
    for ask, answer in zip(assignment.asks, answers[:fit], strict=False):
        messages += [Message("user", ask), Message("assistant", answer.text)]
    whole = "\n".join(message.content for message in messages)
    return Document(document_id(whole), SELF_WRITTEN, messages=tuple(messages)), tokens, ""


def assemble(
    answers: dict[int, list[Answer]], assignment: Callable[[int], Assignment], tokens: int
) -> Written:
    """The documents in order of their numbers, up to the first unfinished one, or to the one that fills `tokens`."""
    written = Written([], 0, Counter())
    seen: set[str] = set()
    number = total = 0
    while total < tokens and number in answers:
        given = assignment(number)
        if not is_complete(given, answers[number]):
            break
        document, size, wrong = document_of(given, answers[number])
        if document is None or document.id in seen:
            written.left_out[wrong or "already there"] += 1
        else:
            seen.add(document.id)
            written.documents.append(document)
            total += size
        number += 1
    return Written(written.documents, total, written.left_out)


@dataclass(slots=True)
class Journal:
    """All answers of a run on disk, one JSON line each, in the order in which they came.

    A line is written as soon as its answer is there: who kills the run loses the answers that were being written.
    """

    path: Path
    answers: dict[int, list[Answer]] = field(default_factory=dict)
    """By number of the document, in order of turns."""
    _file: FileIO | None = None

    @classmethod
    def open(cls, path: Path, run: dict[str, Any]) -> Journal:
        """Starts, or goes on with, the journal of the run of these settings.

        Raises RunMismatch where another run's journal is there, CorpusError where a line is broken. A last line
        that was cut off by a kill is dropped.
        """
        journal = cls(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
            whole = sum(len(line) + 1 for line in lines[:-1])
            if lines[0] and len(lines) > 1:
                journal._read(lines[:-1], run)
            journal._file = FileIO(path, "a")
            journal._file.truncate(whole)
        except OSError as error:
            raise SaeLabError(f"{path} cannot be used: {error}") from error
        if not whole:
            journal._append(run)
        return journal

    def _read(self, lines: list[bytes], run: dict[str, Any]) -> None:
        for line, data in enumerate(lines, 1):
            try:
                row = json.loads(data)
                if line == 1:
                    self._claim(row, run)
                else:
                    self.answers.setdefault(row["number"], []).append(
                        Answer(row["text"], row["tokens"], row["surprise"])
                    )
            except (ValueError, KeyError, TypeError) as error:
                raise CorpusError(
                    f"{self.path}, line {line} is no answer ({error}); delete the file to write anew"
                ) from error

    def _claim(self, found: dict[str, Any], run: dict[str, Any]) -> None:
        changed = sorted(key for key in run.keys() | found.keys() if run.get(key) != found.get(key))
        if changed:
            raise RunMismatch(
                f"{self.path} is of another run (different: {', '.join(changed)}): choose another file, or delete it"
            )

    def add(self, number: int, answer: Answer) -> None:
        """Keeps an answer. A full disk raises SaeLabError."""
        self.answers.setdefault(number, []).append(answer)
        self._append({"number": number} | asdict(answer))

    def _append(self, row: dict[str, Any]) -> None:
        assert self._file is not None
        line = (json.dumps(row, ensure_ascii=False) + "\n").encode()
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise SaeLabError(
                f"{self.path} could not be written ({error}): free some space and run the same command again, "
                "which goes on from here"
            ) from error

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

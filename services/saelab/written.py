"""Text that the model wrote itself: all its answers, which of them are fit to use, and the documents."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from services.saelab.documents import SELF_WRITTEN, Document, Message, document_id
from services.saelab.errors import CorpusError, SaeLabError
from services.saelab.journal import Journal
from services.saelab.steering_rules import distinct_runs
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


class Answers:
    """All answers of a run, kept in a journal in the order in which they came.

    Each is written as soon as it is there: who kills the run loses the answers that were being written.
    """

    def __init__(self, path: Path, run: dict[str, Any]) -> None:
        """Starts, or goes on with, the answers of the run of these settings.

        Raises RunMismatch where another run's are there, SaeLabError where the file is broken.
        """
        self._journal = Journal(path, run)
        self.by_number: dict[int, list[Answer]] = {}
        """By number of the document, in order of turns."""
        for line, row in enumerate(self._journal.rows, 2):
            try:
                answer = Answer(row["text"], row["tokens"], row["surprise"])
                self.by_number.setdefault(row["number"], []).append(answer)
            except (KeyError, TypeError) as error:
                raise CorpusError(
                    f"{path}, line {line} is no answer ({error}); delete the file to write anew"
                ) from error

    def add(self, number: int, answer: Answer) -> None:
        """Keeps an answer. A full disk raises SaeLabError."""
        self._journal.add([{"number": number} | asdict(answer)])
        self.by_number.setdefault(number, []).append(answer)

    def close(self) -> None:
        """Closes the journal."""
        with suppress(OSError):  # On a full disk what could not be written was told already.
            self._journal.close()


@dataclass(slots=True)
class Draft:
    """An answer that is being written."""

    turn: int
    tokens: list[int]
    """What was drawn so far."""
    nats: float
    """Negative log-likelihood of it."""


class Drafts:
    """The answers that are being written; saved now and then, so that a kill loses only what came since."""

    def __init__(self, path: Path, run: dict[str, Any]) -> None:
        """Takes up the drafts that the same run left; there are none where another did, or where none can be read."""
        self._path, self._run = path, run
        self._drafts: dict[int, Draft] = {}
        try:
            saved = json.loads(path.read_text("utf-8"))
            if saved["run"] == run:
                self._drafts = {int(number): Draft(**draft) for number, draft in saved["drafts"].items()}
        except (OSError, ValueError, KeyError, TypeError):
            return

    def of(self, number: int, turn: int) -> Draft:
        """The draft of a document at that turn, an empty one unless it was begun."""
        draft = self._drafts.get(number)
        if draft is None or draft.turn != turn:
            draft = self._drafts[number] = Draft(turn, [], 0.0)
        return draft

    def drop(self, number: int) -> None:
        """Forgets a draft whose answer is done."""
        self._drafts.pop(number, None)

    def save(self) -> None:
        """Writes the file; it is whole or the one before. A full disk raises SaeLabError."""
        drafts = {str(number): asdict(draft) for number, draft in self._drafts.items()}
        partial = self._path.with_suffix(".partial")
        try:
            partial.write_text(json.dumps({"run": self._run, "drafts": drafts}), encoding="utf-8")
            partial.replace(self._path)
        except OSError as error:
            raise SaeLabError(
                f"{self._path} could not be written ({error}): free some space and run the same command again"
            ) from error

"""The model writes text itself: chats and short pieces from many prompts, through the engine that serves it.

What it writes depends on model, seed, prompts and platform alone: the engine gives the same text in any company.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from services.errors import HearthError, PromptTooLong
from services.inference.embedded import EMBEDDED_MODEL_ID
from services.inference.host import ModelHost
from services.inference.load import load_host
from services.inference.requests import ChatPrompt, Prompt, TextPrompt
from services.inference.sampling import Sampling
from services.inference.selftest import SteeringBroken
from services.inference.sequence import Delta, Finished, FinishReason
from services.inference.settings import InferenceSettings
from services.inference.streams import EventStream, run
from services.inference.tokenizer import Message
from services.saelab.documents import write_documents
from services.saelab.errors import SaeLabError
from services.saelab.write_prompts import PROMPTS, Assignment, PromptTable, load_prompts
from services.saelab.written import Answer, Answers, Written, assemble, document_of, is_complete
from services.steering.edits import Steering

WRITTEN = "written.jsonl"
_SAVE_SECONDS = 30.0
"""How often the documents are written out while more are being written."""
_TRIED = 200
"""After so many documents a model that writes hardly anything fit is given up,"""
_FIT_SHARE = 0.05
"""which is less than this share of them."""
_USUAL_TOKENS = 150
"""Tokens expected of a document before any is done."""


@dataclass(frozen=True, slots=True)
class WriteSettings:
    """What is written."""

    out: Path
    """File of the documents; the journal of all answers lies beside it, with the ending .journal.jsonl."""
    model: str = EMBEDDED_MODEL_ID
    """Hub id, or folder of a Hugging Face checkpoint with a chat template."""
    tokens: int = 150_000
    """Tokens that the model writes in the documents that are kept; more goes on with the same run."""
    seed: int = 0
    temperature: float = 1.0
    top_p: float = 0.9
    """Mass of the most likely tokens that are drawn from: with all of them, a small model drifts into word salad."""
    prompts: Path = PROMPTS
    """The table of prompts."""
    rows: int = 16
    """Documents written side by side. A kill loses what these had of their current answers."""
    device: str = "cpu"
    """cpu or cuda."""
    threads: int = 1
    """CPU threads."""

    @property
    def journal(self) -> Path:
        """The file of all answers."""
        return self.out.with_suffix(".journal.jsonl")


@dataclass(frozen=True, slots=True)
class Status:
    """How far the writing is."""

    tokens: int
    """Tokens kept."""
    documents: int
    left_out: int
    """Documents that were unfit."""
    tokens_per_second: float
    """Of this session, with those that were left out."""


Progress = Callable[[Status], None]


def write(settings: WriteSettings, progress: Progress = lambda status: None) -> Written:
    """Writes the documents, going on where a run of the same settings was stopped; returns them.

    Raises SaeLabError where the model has no chat template or writes nothing fit, the disk is full, or the files are
    of another run; SetupError where the model cannot be had.
    """
    table = load_prompts(settings.prompts)
    with _engine(settings) as host:
        answers = Answers(settings.journal, _run_of(settings, host, table))
        try:
            asyncio.run(_Desk(settings, host, table, answers, progress).work())
        except HearthError as error:
            raise SaeLabError(f"the engine stopped writing: {error}") from error
        finally:
            answers.close()
        return _save(settings, table, answers)


@contextmanager
def _engine(settings: WriteSettings) -> Iterator[ModelHost]:
    try:
        host = load_host(
            InferenceSettings(
                model=settings.model,
                saes=[],
                device=settings.device,
                threads=settings.threads,
                max_running=settings.rows,
            )
        )
    except SteeringBroken as error:
        raise SaeLabError(f"{settings.model} cannot write: {error}") from error
    try:
        if not host.tokenizer.has_chat_template:
            raise SaeLabError(f"{settings.model} has no chat template, so it cannot write chats")
        yield host
    finally:
        host.engine.stop()


def _run_of(settings: WriteSettings, host: ModelHost, table: PromptTable) -> dict[str, Any]:
    """What must be the same for a run to be gone on with."""
    return {
        "model": host.identity.id,
        "weights": host.identity.weights_digest,
        "prompts": table.digest,
        "seed": settings.seed,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
    }


def _save(settings: WriteSettings, table: PromptTable, answers: Answers) -> Written:
    written = assemble(
        answers.by_number, lambda number: table.assignment(settings.seed, number), settings.tokens
    )
    try:
        write_documents(settings.out, written.documents)
    except OSError as error:
        raise SaeLabError(
            f"{settings.out} could not be written ({error}): free some space and run the same command again"
        ) from error
    return written


class _Desk:
    """Keeps the engine busy until enough is written."""

    def __init__(
        self,
        settings: WriteSettings,
        host: ModelHost,
        table: PromptTable,
        answers: Answers,
        progress: Progress,
    ) -> None:
        self._settings, self._host, self._table = settings, host, table
        self._answers, self._progress = answers, progress
        self._kept = self._documents = self._left_out = self._drawn = 0
        self._highest = max(answers.by_number, default=-1)
        for number in answers.by_number:
            self._count(self._assignment(number))

    async def work(self) -> None:
        """Writes documents side by side; returns when all that were begun are done and there are enough."""
        started = saved = time.monotonic()
        numbers = count()
        upcoming = next(numbers)
        tasks: set[asyncio.Task[None]] = set()
        try:
            while True:
                while len(tasks) < self._settings.rows and self._wants(upcoming, len(tasks)):
                    if not self._is_done(upcoming):
                        tasks.add(asyncio.create_task(self._document(self._assignment(upcoming))))
                    upcoming = next(numbers)
                if not tasks:
                    return
                done, tasks = await asyncio.wait(tasks, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                now = time.monotonic()
                self._progress(
                    Status(
                        self._kept, self._documents, self._left_out, self._drawn / max(now - started, 1e-3)
                    )
                )
                self._give_up_if_hopeless()
                if now - saved > _SAVE_SECONDS:
                    _save(self._settings, self._table, self._answers)
                    saved = now
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _wants(self, number: int, running: int) -> bool:
        """Whether a document is to be begun: gaps that an earlier session left are always filled."""
        usual = self._kept / self._documents if self._documents else _USUAL_TOKENS
        return number <= self._highest or self._kept + running * usual < self._settings.tokens

    def _is_done(self, number: int) -> bool:
        return is_complete(self._assignment(number), self._written(number))

    def _written(self, number: int) -> list[Answer]:
        return self._answers.by_number.get(number, [])

    def _assignment(self, number: int) -> Assignment:
        return self._table.assignment(self._settings.seed, number)

    def _count(self, assignment: Assignment) -> None:
        answers = self._written(assignment.number)
        if not is_complete(assignment, answers):
            return
        document, tokens, _ = document_of(assignment, answers)
        self._kept += tokens
        self._documents += document is not None
        self._left_out += document is None

    def _give_up_if_hopeless(self) -> None:
        if self._left_out >= _TRIED and self._documents < _FIT_SHARE * (self._left_out + self._documents):
            raise SaeLabError(
                f"{self._settings.model} writes hardly anything fit to use: {self._left_out} of "
                f"{self._left_out + self._documents} documents are too short, garbled or repeat themselves "
                f"(see {self._settings.journal}); try a lower temperature or top-p"
            )

    async def _document(self, assignment: Assignment) -> None:
        answers = self._written(assignment.number)
        while not is_complete(assignment, answers):
            answer = await self._answer(assignment, answers)
            self._answers.add(assignment.number, answer)
            answers = self._written(assignment.number)
        self._count(assignment)

    async def _answer(self, assignment: Assignment, answers: list[Answer]) -> Answer:
        turn = len(answers)
        sampling = Sampling(
            temperature=self._settings.temperature,
            top_p=self._settings.top_p,
            max_tokens=assignment.tokens[turn],
            seed=_seed(self._settings.seed, assignment.number, turn),
            logprobs=True,
        )
        try:
            prompt = await self._host.tokenize(
                _prompt(assignment, answers), open_turn=True, room=assignment.tokens[turn]
            )
        except PromptTooLong:
            return Answer("", 0, 0.0)
        stream = EventStream()
        sequence = self._host.generation(
            prompt.ids, Steering(), sampling, stream.sink, report=False, owner="sae write"
        )
        parts: list[str] = []
        logprobs: list[float] = []
        async for event in run(self._host.engine, sequence, stream):
            if isinstance(event, Delta):
                parts.append(event.text)
                self._drawn += len(event.choices)
                logprobs += [choice.logprob for choice in event.choices if choice.logprob is not None]
            elif isinstance(event, Finished) and event.reason is FinishReason.LENGTH:
                parts = [_whole_sentences("".join(parts))]
        text = "".join(parts).rstrip()
        text = text if assignment.opening else text.lstrip()
        ids = self._host.tokenizer.plain(text, add_special_tokens=False).input_ids
        return Answer(text, len(ids), round(-sum(logprobs) / max(1, len(logprobs)), 3))


def _prompt(assignment: Assignment, answers: list[Answer]) -> Prompt:
    if assignment.opening:
        return TextPrompt(assignment.opening)
    messages = [Message("system", assignment.system)] if assignment.system else []
    for ask, answer in zip(assignment.asks, answers, strict=False):
        messages += [Message("user", ask), Message("assistant", answer.text)]
    return ChatPrompt((*messages, Message("user", assignment.asks[len(answers)])))


def _seed(seed: int, number: int, turn: int) -> int:
    digest = hashlib.blake2b(json.dumps([seed, number, turn]).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _whole_sentences(text: str) -> str:
    """A text that was cut off, up to the last end of a sentence or line, unless half of it would be lost."""
    ends = [match.end() for match in re.finditer(r"[.!?][\"'”’)]*(?=\s)|\n", text)]
    return text[: ends[-1]] if ends and ends[-1] > len(text) // 2 else text

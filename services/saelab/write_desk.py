"""Where the model's documents are written side by side, through the engine."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import Callable
from itertools import count

from services.errors import PromptTooLong
from services.inference.host import ModelHost
from services.inference.requests import ChatPrompt, Prompt, TextPrompt
from services.inference.sampling import Sampling
from services.inference.sequence import Delta, Finished, FinishReason
from services.inference.streams import EventStream, run
from services.inference.tokenizer import Message
from services.saelab.errors import SaeLabError
from services.saelab.write_prompts import Assignment, PromptTable
from services.saelab.write_settings import Progress, Status, WriteSettings
from services.saelab.written import Answer, Answers, Draft, Drafts, document_of, is_complete
from services.steering.edits import Steering

SAVE_SECONDS = 15.0
"""How often drafts, and the documents so far, are written out."""
_TRIED = 200
"""After so many documents a model that writes hardly anything fit is given up,"""
_FIT_SHARE = 0.05
"""which is less than this share of them."""
_USUAL_TOKENS = 150
"""Tokens expected of a document before any is done."""


class Desk:
    """Keeps the engine busy until enough is written."""

    def __init__(
        self, settings: WriteSettings, host: ModelHost, table: PromptTable, answers: Answers, drafts: Drafts
    ) -> None:
        self._settings, self._host, self._table = settings, host, table
        self._answers, self._drafts = answers, drafts
        self._kept = self._documents = self._left_out = self._drawn = 0
        self._highest = max(answers.by_number, default=-1)
        for number in answers.by_number:
            self._count(self._assignment(number))

    async def work(self, progress: Progress, save: Callable[[], object]) -> None:
        """Writes documents; returns when all that were begun are done and there are enough. Calls `save` at times."""
        started = saved = time.monotonic()
        numbers = count()
        upcoming = next(numbers)
        tasks: set[asyncio.Task[None]] = set()
        try:
            while True:
                while len(tasks) < self._settings.rows and self._wants(upcoming, len(tasks)):
                    assignment = self._assignment(upcoming)
                    if not is_complete(assignment, self._written(upcoming)):
                        tasks.add(asyncio.create_task(self._document(assignment)))
                    upcoming = next(numbers)
                if not tasks:
                    return
                done, tasks = await asyncio.wait(tasks, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                now = time.monotonic()
                rate = self._drawn / max(now - started, 1e-3)
                progress(Status(self._kept, self._documents, self._left_out, rate))
                self._give_up_if_hopeless()
                if now - saved >= SAVE_SECONDS:
                    self._drafts.save()
                    save()
                    saved = now
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._drafts.save()

    def _wants(self, number: int, running: int) -> bool:
        """Whether a document is to be begun: gaps that an earlier session left are always filled."""
        usual = self._kept / self._documents if self._documents else _USUAL_TOKENS
        return number <= self._highest or self._kept + running * usual < self._settings.tokens

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
        tried = self._left_out + self._documents
        if self._left_out >= _TRIED and self._documents < _FIT_SHARE * tried:
            raise SaeLabError(
                f"{self._settings.model} writes hardly anything fit to use: {self._left_out} of {tried} documents are "
                f"too short, garbled or repeat themselves (see {self._settings.journal}); try a lower temperature or "
                "top-p"
            )

    async def _document(self, assignment: Assignment) -> None:
        while not is_complete(assignment, self._written(assignment.number)):
            answer = await self._answer(assignment, self._written(assignment.number))
            self._answers.add(assignment.number, answer)
            self._drafts.drop(assignment.number)
        self._count(assignment)

    async def _answer(self, assignment: Assignment, answers: list[Answer]) -> Answer:
        turn = len(answers)
        limit = assignment.tokens[turn]
        try:
            prompt = await self._host.tokenize(_prompt(assignment, answers), open_turn=True, room=limit)
        except PromptTooLong:
            return Answer("", 0, 0.0)
        draft = self._drafts.of(assignment.number, turn)
        cut_off = len(draft.tokens) >= limit or await self._go_on(assignment.number, prompt.ids, draft, limit)
        text = b"".join(map(self._host.tokenizer.text_bytes, draft.tokens)).decode("utf-8", errors="replace")
        text = (_whole_sentences(text) if cut_off else text).rstrip()
        text = text if assignment.opening else text.lstrip()
        ids = self._host.tokenizer.plain(text, add_special_tokens=False).input_ids
        return Answer(text, len(ids), round(draft.nats / max(1, len(draft.tokens)), 3))

    async def _go_on(self, number: int, prompt: list[int], draft: Draft, limit: int) -> bool:
        """Writes a draft to its end; whether that is the limit.

        Draws depend on seed and place alone, so what was drawn already can stand in the prompt.
        """
        sampling = Sampling(
            temperature=self._settings.temperature,
            top_p=self._settings.top_p,
            max_tokens=limit - len(draft.tokens),
            seed=_seed(self._settings.seed, number, draft.turn),
            logprobs=True,
        )
        stream = EventStream()
        ids = [*prompt, *draft.tokens]
        sequence = self._host.generation(
            ids, Steering(), sampling, stream.sink, report=False, owner="sae write"
        )
        async for event in run(self._host.engine, sequence, stream):
            if isinstance(event, Delta):
                draft.tokens += [choice.token for choice in event.choices]
                draft.nats -= sum(choice.logprob or 0.0 for choice in event.choices)
                self._drawn += len(event.choices)
            elif isinstance(event, Finished):
                return event.reason is FinishReason.LENGTH
        raise AssertionError("a generation ends with Finished, or raises")


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

"""What the model is asked to write: the table `write_prompts.toml`, and the assignment of each document.

An assignment depends on the table, the seed and the document's number alone, so that a run can be gone on with, and
told again.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from random import Random
from typing import Any

from services.saelab.errors import CorpusError

PROMPTS = Path(__file__).with_name("write_prompts.toml")
PIECE = "piece"
"""The form of a plain text."""
_PIECE_SHARE = 0.3
"""Share of documents that are plain texts; the others are chats."""
_FREE_SHARE = 0.3
"""Share of plain texts that begin without a subject."""
_SYSTEM_SHARE = 0.35
"""Share of chats with a system prompt of their own; the others get the model template's."""
_REGISTER_SHARE = 0.35
"""Share of chats that are asked to be told in a certain register."""
_FOLLOW_SHARE = 0.3
"""Share of chats that go on after the first answer; as large a share of those goes on again."""
_MOST_TURNS = 3
_CARELESS_SHARE = 0.1
"""Share of chats whose user types in small letters, without a full stop."""


@dataclass(frozen=True, slots=True)
class Form:
    """A kind of text that may be asked for."""

    name: str
    weight: float
    tokens: int
    """The most that an answer gets."""
    ask: tuple[str, ...]
    """Its wordings, with {subject}."""
    only: tuple[str, ...] = ()
    """Themes that it fits; all where empty."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What one document is to be: a chat with these user turns, or a plain text that goes on from an opening."""

    number: int
    subject: str
    form: str
    asks: tuple[str, ...] = ()
    """What the user says, turn by turn."""
    tokens: tuple[int, ...] = ()
    """The most that each answer gets."""
    system: str = ""
    """The system prompt; the model template's own where empty."""
    opening: str = ""
    """The beginning of a plain text."""

    @property
    def turns(self) -> int:
        """Answers that the model writes."""
        return len(self.tokens)


@dataclass(frozen=True)
class PromptTable:
    """The table as it was read."""

    subjects: dict[str, tuple[str, ...]]
    """Noun phrases by theme."""
    forms: tuple[Form, ...]
    registers: tuple[str, ...]
    systems: tuple[str, ...]
    followups: tuple[str, ...]
    openings: tuple[str, ...]
    """Beginnings of plain texts, with {subject} or {Subject}."""
    free_openings: tuple[str, ...]
    """Beginnings without a subject."""
    followup_tokens: int
    """The most that a later answer gets."""
    piece_tokens: int
    """The most that is added to a beginning."""
    digest: str
    """Of the table's file: another table, another run."""

    @cached_property
    def themed(self) -> list[tuple[str, str]]:
        """Every theme with each of its subjects."""
        return [(theme, subject) for theme, subjects in self.subjects.items() for subject in subjects]

    def assignment(self, seed: int, number: int) -> Assignment:
        """What document `number` is to be. Every subject comes once before any comes again."""
        round_, place = divmod(number, len(self.themed))
        theme, subject = self.themed[_order(len(self.themed), seed, round_)[place]]
        draw = Random(f"{seed} document {number}")
        if draw.random() < _PIECE_SHARE:
            free = draw.random() < _FREE_SHARE
            opening = _filled(draw.choice(self.free_openings if free else self.openings), subject)
            tokens = (self.piece_tokens,)
            return Assignment(number, "" if free else subject, PIECE, tokens=tokens, opening=opening)
        return self._chat(number, theme, subject, draw)

    def _chat(self, number: int, theme: str, subject: str, draw: Random) -> Assignment:
        forms = [form for form in self.forms if not form.only or theme in form.only]
        form = draw.choices(forms, [form.weight for form in forms])[0]
        asks, tokens = [draw.choice(form.ask)], [form.tokens]
        if draw.random() < _REGISTER_SHARE:
            asks[0] += " " + draw.choice(self.registers)
        while len(asks) < _MOST_TURNS and draw.random() < _FOLLOW_SHARE:
            asks.append(draw.choice([said for said in self.followups if said not in asks]))
            tokens.append(min(self.followup_tokens, form.tokens))
        asks = [_filled(ask, subject) for ask in asks]
        if draw.random() < _CARELESS_SHARE:
            asks = [ask.lower().rstrip(".") for ask in asks]
        system = draw.choice(self.systems) if draw.random() < _SYSTEM_SHARE else ""
        return Assignment(number, subject, form.name, tuple(asks), tuple(tokens), system)


def load_prompts(path: Path = PROMPTS) -> PromptTable:
    """Reads the table. Raises CorpusError where it is not one."""
    try:
        data = path.read_bytes()
        rows = tomllib.loads(data.decode())
        table = PromptTable(
            subjects={theme: tuple(subjects) for theme, subjects in rows["subjects"].items()},
            forms=tuple(_form(row) for row in rows["form"]),
            registers=tuple(rows["registers"]["say"]),
            systems=tuple(rows["systems"]["say"]),
            followups=tuple(rows["followups"]["say"]),
            openings=tuple(rows["pieces"]["about"]),
            free_openings=tuple(rows["pieces"]["free"]),
            followup_tokens=int(rows["followups"]["tokens"]),
            piece_tokens=int(rows["pieces"]["tokens"]),
            digest=hashlib.sha256(data).hexdigest(),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{path} is no table of prompts: {error}") from error
    for form in table.forms:
        if unknown := set(form.only) - set(table.subjects):
            raise CorpusError(
                f"{path}: form {form.name!r} names no theme of the table: {', '.join(sorted(unknown))}"
            )
    return table


def _form(row: dict[str, Any]) -> Form:
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in row.items()
    }
    return Form(**fields)


@lru_cache(maxsize=8)
def _order(count: int, seed: int, round_: int) -> Sequence[int]:
    return Random(f"{seed} subjects {round_}").sample(range(count), count)


def _filled(template: str, subject: str) -> str:
    capital = subject[:1].upper() + subject[1:]
    return template.replace("{subject}", subject).replace("{Subject}", capital)

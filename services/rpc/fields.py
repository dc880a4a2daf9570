"""What fields of any request may hold: texts, UUIDs, page sizes, masks. All errors are InvalidField with the path."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from services.errors import InvalidField

DEFAULT_PAGE = 100
MAX_ETAG = 100
"""Characters; the service's own are shorter."""
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def text(value: str, field: str, most: int, *, least: int = 0) -> str:
    """A text of `least` to `most` characters, without U+0000, which databases cannot store."""
    if not least <= len(value) <= most:
        raise InvalidField(field, f"has {len(value)} characters; allowed: {least} to {most:,}")
    if "\0" in value:
        raise InvalidField(field, "holds U+0000; allowed: text without it")
    return value


def uuid(value: str, field: str) -> str:
    """A UUID, written small."""
    small = value.lower()
    if not _UUID.fullmatch(small):
        raise InvalidField(field, f"is {value[:50]!r}; allowed: a UUID")
    return small


def optional_uuid(value: str, field: str) -> str:
    """A UUID, written small, or the empty text."""
    return uuid(value, field) if value else ""


def etag(value: str) -> str:
    """An etag of the caller's, or the empty text."""
    return text(value, "etag", MAX_ETAG)


def page_size(value: int, most: int, field: str = "page_size") -> int:
    """The size of a page, 1 to `most`; 0 asks for the usual one."""
    if value > most:
        raise InvalidField(field, f"is {value}; allowed: at most {most:,}, or 0 for {DEFAULT_PAGE}")
    return value or DEFAULT_PAGE


def mask(paths: Iterable[str], allowed: Sequence[str], field: str = "update_mask") -> frozenset[str]:
    """The paths that a mask names, one or more."""
    named = frozenset(paths)
    if not named:
        raise InvalidField(field, f"is empty; allowed: {', '.join(allowed)}")
    for path in sorted(named):
        if path not in allowed:
            raise InvalidField(field, f"names {path[:50]!r}; allowed: {', '.join(allowed)}")
    return named

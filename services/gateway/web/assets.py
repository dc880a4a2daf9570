"""The page's files, as `make page` has built them."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DIST = Path(__file__).parent / "dist"
INDEX = "index.html"
_HASHED = "assets/"
"""Files there are named by what they hold."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page, in memory: all of them are a few hundred kilobytes."""

    body: bytes
    compressed: bytes
    """The same with gzip."""
    headers: Mapping[str, str]

    def headers_of(self, encoding: str) -> dict[str, str]:
        """The headers of an answer in this encoding, empty for none."""
        return {**self.headers, **({"content-encoding": encoding} if encoding else {})}


def read_assets(folder: Path = DIST) -> dict[str, Asset]:
    """The files by their paths below `folder`; empty where the page was not built."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): _read(path, str(path.relative_to(folder))) for path in files}


def _read(path: Path, name: str) -> Asset:
    body = path.read_bytes()
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    forever = "public, max-age=31536000, immutable"
    headers = {
        "content-type": f"{kind}; charset=utf-8" if kind.startswith("text/") else kind,
        "cache-control": forever if name.startswith(_HASHED) else "no-cache",
        "etag": f'"{hashlib.sha256(body).hexdigest()[:32]}"',
        "vary": "accept-encoding",
    }
    return Asset(body, gzip.compress(body, mtime=0), headers)

"""Zip archives of tensors, looked at before anything in them is unpacked."""

from __future__ import annotations

import zipfile
from pathlib import Path

from services.inference.sae.errors import SaeFormatError

SMALL = 64 << 20
"""Bytes that may be unpacked from however few."""
MOST_EXPANSION = 100
"""How many times its size an archive may unpack to. Trained weights hardly shrink at all: more is a bomb."""


def require_honest(file: Path) -> None:
    """Raises SaeFormatError where a zip archive would unpack to far more than it holds; other files pass."""
    if not zipfile.is_zipfile(file):
        return
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise SaeFormatError(file, "", "a whole zip archive", f"one that does not parse ({error})") from error
    if unpacked > max(SMALL, MOST_EXPANSION * file.stat().st_size):
        raise SaeFormatError(
            file,
            "",
            f"an archive that unpacks to at most {MOST_EXPANSION} times its size",
            f"one that unpacks to {unpacked:,} bytes",
        )

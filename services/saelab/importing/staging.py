"""A folder that is filled beside its place and then put there: whole, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from services.saelab.errors import ImportRefused


def require_free(out: Path, *, replace: bool) -> None:
    """Raises ImportRefused where the folder holds something that must not be lost, or cannot be made."""
    if out.is_file():
        raise ImportRefused(f"{out} is a file: name a folder with --out")
    if out.is_dir() and any(out.iterdir()) and not replace:
        raise ImportRefused(f"{out} is not empty: name another folder with --out, or pass --replace")


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """An empty folder beside `out`, which becomes `out` when the block ends well and is removed when it does not.

    What killed runs left behind is removed first. Raises ImportRefused where the disk is full or not writable.
    """
    out = out.absolute()
    folder = out.parent / f".{out.name}.partial-{os.getpid()}"
    try:
        _remove_leftovers(out)
        folder.mkdir(parents=True)
    except OSError as error:
        raise _unwritable(out, error) from error
    try:
        yield folder
        _put(folder, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Tells errors of the disk, in the block, as such. Raises ImportRefused."""
    try:
        yield
    except OSError as error:
        raise _unwritable(out, error) from error


def _put(folder: Path, out: Path) -> None:
    old = folder.with_name(f".{out.name}.old-{os.getpid()}")
    with writing(out):
        if out.exists():
            out.rename(old)
        try:
            folder.rename(out)
        except OSError:
            if old.exists():
                old.rename(out)
            raise
    shutil.rmtree(old, ignore_errors=True)


def _remove_leftovers(out: Path) -> None:
    if not out.parent.is_dir():
        return
    for leftover in [each for each in out.parent.iterdir() if each.name.startswith(f".{out.name}.")]:
        kind, _, process = leftover.name.removeprefix(f".{out.name}.").partition("-")
        if not process.isdecimal() or _runs(int(process)):
            continue
        if kind == "old" and not out.exists():
            leftover.rename(out)  # Killed between the two renames: what was there before is still whole.
        elif kind in ("old", "partial"):
            shutil.rmtree(leftover, ignore_errors=True)


def _runs(process: int) -> bool:
    with suppress(PermissionError):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
    return True


def _unwritable(out: Path, error: OSError) -> ImportRefused:
    return ImportRefused(f"{out} could not be written ({error}): free some space, or name another folder")

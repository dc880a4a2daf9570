"""Folders of the cache that are made once from something downloaded: whole or not there, made by one process alone."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Console

from services.fetched.cache import CacheSettings
from services.fetched.wheels import disk_errors_named, sha256

MANIFEST = "hearth_manifest.json"
_TEMP = ".preparing-"

Build = Callable[[Path, Path, Console], None]
"""Fills the empty folder given second; the first is for what is needed meanwhile. Steps are told on the console."""


def is_current(folder: Path, identity: dict[str, Any]) -> bool:
    """Whether ``folder`` holds all that was made from ``identity``. Compares sizes, not contents."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        if {key: manifest[key] for key in identity} != identity:
            return False
        return all(
            (folder / name).stat().st_size == file["bytes"] for name, file in manifest["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def prepare(
    cache: CacheSettings, folder: Path, identity: dict[str, Any], build: Build, console: Console, rerun: str
) -> Path:
    """``folder``, a folder of ``cache.models``, built first if it is missing, broken or made from something else.

    Two processes that start together build once: the second waits. ``rerun`` is the command that error messages
    name. Raises SetupError with what to do next.
    """
    if is_current(folder, identity):
        return folder
    with disk_errors_named(cache.root, rerun):
        cache.models.mkdir(parents=True, exist_ok=True)
        with _lock(cache.models / ".lock", console):
            if not is_current(
                folder, identity
            ):  # Another process may have finished it while this one waited.
                _prepare(cache, folder, identity, build, console)
    return folder


def _prepare(
    cache: CacheSettings, folder: Path, identity: dict[str, Any], build: Build, console: Console
) -> None:
    """Builds and puts the result in place; leaves nothing half done where anyone looks."""
    _remove_leftovers(cache)
    with tempfile.TemporaryDirectory(prefix=_TEMP, dir=cache.models) as temp:
        built = Path(temp) / "built"
        built.mkdir()
        build(Path(temp), built, console)
        _write_manifest(built, identity)
        if folder.exists():
            folder.rename(Path(temp) / "replaced")
        built.rename(folder)


def _write_manifest(folder: Path, identity: dict[str, Any]) -> None:
    files = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        path.chmod(0o644)  # safetensors makes its file readable to its owner alone.
        name = path.relative_to(folder).as_posix()
        files[name] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    manifest = json.dumps({**identity, "files": files}, indent=2) + "\n"
    (folder / MANIFEST).write_text(manifest, "utf-8")


def _remove_leftovers(cache: CacheSettings) -> None:
    """Removes what killed runs left behind. The caller holds the lock, so nobody is using it."""
    for leftover in (*cache.models.glob(_TEMP + "*"), *cache.downloads.glob(".pip-*")):
        shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def _lock(path: Path, console: Console) -> Iterator[None]:
    """Holds the lock file; the operating system lets go of it when the process ends, however it ends."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        console.print("Another process is preparing the model; waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()

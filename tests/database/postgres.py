"""A real PostgreSQL server in a temporary folder, from Debian's package or whatever is on the path."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

WITHOUT = "needs PostgreSQL's programs initdb and pg_ctl: apt-get install postgresql"
USER = "hearth"
OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "16MB",
    "max_connections": "50",
    "deadlock_timeout": "100ms",
    # What it commits is in the kernel's hands all the same: crashes of its processes lose nothing, and no test is late
    # because the disk is busy.
    "fsync": "off",
}


def programs() -> Path | None:
    """The folder of PostgreSQL's programs, the newest; None where there is none. Debian keeps them off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: float(p.parts[4]))
    folders = [p.parent for p in found]
    if on_path := shutil.which("initdb"):
        folders.insert(0, Path(on_path).resolve().parent)
    return next((f for f in reversed(folders) if (f / "initdb").exists() and (f / "pg_ctl").exists()), None)


class PostgresServer:
    """One server as it ships, but for OPTIONS."""

    def __init__(self, programs: Path, folder: Path, as_user: dict[str, Any]) -> None:
        self._programs, self._folder, self._as_user = programs, folder, as_user
        self._data = folder / "data"
        self.port = _free_port()

    def initialize(self) -> None:
        options = {"username": USER, "auth": "trust", "encoding": "UTF8", "locale": "C"}
        self._call("initdb", "--no-sync", *(f"--{name}={value}" for name, value in options.items()))

    def start(self) -> None:
        options = " ".join(f"-c {name}={value!r}" for name, value in {**OPTIONS, "port": self.port}.items())
        self._call("pg_ctl", "--wait", "--log", str(self._folder / "log"), "--options", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """`immediate` is a crash: nothing is flushed, and the next start recovers from the log."""
        self._call("pg_ctl", "--wait", "--mode", mode, "stop")

    @property
    def pid(self) -> int:
        return int((self._data / "postmaster.pid").read_text().split()[0])

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/{name}"

    @contextmanager
    def new_database(self) -> Iterator[str]:
        """The URL of an empty database, which is gone afterwards."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name}")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        connection = f"host=127.0.0.1 port={self.port} user={USER} dbname=postgres"
        with psycopg.connect(connection, autocommit=True) as admin:
            admin.execute(statement.encode())

    def _call(self, program: str, *arguments: str) -> None:
        errors = self._folder / f"{program}.err"
        with errors.open("wb") as output:
            done = subprocess.run(
                [self._programs / program, "--pgdata", self._data, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,  # not a pipe, which would stay open as long as the server that pg_ctl starts
                cwd=self._folder,
                timeout=60,
                **self._as_user,
            )
        if done.returncode:
            said = "".join(p.read_text() for p in (errors, self._folder / "log") if p.exists())
            raise AssertionError(f"{program} {' '.join(arguments)}: {said}")


@contextmanager
def running_postgres(programs: Path) -> Iterator[PostgresServer]:
    """A server that is stopped and removed afterwards. It refuses to run as root, and runs as `nobody` then."""
    as_user: dict[str, Any] = {}
    folder = Path(tempfile.mkdtemp(prefix="hearth-postgres-"))
    try:
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        server = PostgresServer(programs, folder, as_user)
        server.initialize()
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])

"""The process under test: `python -m services.features` on a folder of its own, and the import into it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.catalogue.made import Made
from bench.peers.process import LOGS, ROOT
from services.cli.clients.health import is_serving
from services.cli.clients.imports import ImportClient, batches
from services.cli.ports import free_port
from services.cli.serving import environment_of
from services.features.settings import FeaturesSettings

LOG = LOGS / "features.log"
CALL_SECONDS = 1800.0
"""The longest that a commit may take here; the service's own limit is shorter."""
START_SECONDS = 180.0
STOP_SECONDS = 60.0
_POLL_SECONDS = 0.2
_HOST = "127.0.0.1"
_GIVEN = {"host", "port", "data_dir", "max_call_seconds", "log_level"}


@dataclass(frozen=True, slots=True)
class Service:
    """A features process that serves."""

    address: str
    pid: int
    folder: Path

    @property
    def disk_bytes(self) -> int:
        """What its folder takes on disk."""
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return sum(512 * path.stat().st_blocks for path in files)

    @property
    def memory(self) -> dict[str, int]:
        """Bytes: `own`, which nobody else could use, and `mapped`, which are files' that the system may drop."""
        lines = Path(f"/proc/{self.pid}/status").read_text("ascii").splitlines()
        fields = {line.partition(":")[0]: line.split()[1] for line in lines if line.startswith("Rss")}
        return {"own": int(fields["RssAnon"]) << 10, "mapped": int(fields["RssFile"]) << 10}


@dataclass(frozen=True, slots=True)
class Imported:
    """How long an import took, in seconds."""

    sending: float
    """From BeginImport to the last answer of BatchUpsertFeatures."""
    commit: float
    """CommitImport: the indices are built, and the features shown."""


@asynccontextmanager
async def running() -> AsyncIterator[Service]:
    """Starts the process, waits until it serves, ends it. Raises RuntimeError where it does not start."""
    with tempfile.TemporaryDirectory(prefix="hearth-bench-") as folder:
        port = free_port(_HOST)
        settings = FeaturesSettings(
            host=_HOST,
            port=port,
            data_dir=Path(folder),
            max_call_seconds=CALL_SECONDS,
            log_level="WARNING",
        )
        with _process(environment_of(settings, _GIVEN)) as process:
            address = f"{_HOST}:{port}"
            await _until_serving(address, process)
            yield Service(address, process.pid, Path(folder))


async def import_all(service: Service, made: Made, tell: Callable[[str], None]) -> Imported:
    """Imports the catalogue as `hearth features import` does: the next batch is made while one is on its way."""
    async with ImportClient(service.address, deadline=CALL_SECONDS) as client:
        catalog = made.catalog
        begun_at = time.perf_counter()
        begun = await client.begin(catalog, catalog.weights_digest)
        parts = batches(made.upserts(), begun, made.vectors)
        making = asyncio.create_task(asyncio.to_thread(next, parts, None))
        told = 0
        while (batch := await making) is not None:
            making = asyncio.create_task(asyncio.to_thread(next, parts, None))
            stored = await client.upsert(batch)
            if stored - told >= len(made) // 10:
                told = stored
                tell(f"imported {stored:,} of {len(made):,} in {time.perf_counter() - begun_at:.0f} s")
        sent_at = time.perf_counter()
        await client.commit(begun.import_id)
        done_at = time.perf_counter()
    tell(f"committed in {done_at - sent_at:.0f} s")
    return Imported(sent_at - begun_at, done_at - sent_at)


@contextmanager
def _process(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    LOGS.mkdir(exist_ok=True)
    with LOG.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.features"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'protos' / 'gen'}", **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _until_serving(address: str, process: subprocess.Popen[bytes]) -> None:
    end = time.perf_counter() + START_SECONDS
    while not await is_serving(address):
        if process.poll() is not None or time.perf_counter() > end:
            raise RuntimeError(f"the features process did not start; see {LOG}")
        await asyncio.sleep(_POLL_SECONDS)

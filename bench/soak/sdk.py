"""Starts the researchers who use Ember's SDK, each few in a process with the SDK's own environment."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import certifi

from bench.gateway_processes import ROOT
from bench.soak.journal import Journal

LIBRARY = ROOT / ".venv-goodfire"
_END = "-----END CERTIFICATE-----\n"


def installed() -> bool:
    """Whether `make test` or `make soak` has installed the SDK."""
    return (LIBRARY / "goodfire").is_dir()


@asynccontextmanager
async def certificate() -> AsyncIterator[str]:
    """A file with one certificate: for each call the SDK makes a client, which reads all of them, for 60 ms."""
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as bundle:
        bundle.write(certifi.contents().split(_END)[0] + _END)
        bundle.flush()
        yield bundle.name


async def working(
    journal: Journal,
    given: Mapping[str, object],
    keys: Sequence[tuple[int, str]],
    jobs: Mapping[int, Sequence[float]],
) -> None:
    """Lets some researchers work in a process; their records go into the journal. Raises RuntimeError."""
    own = {number: jobs[number] for number, _ in keys if number in jobs}
    async with certificate() as bundle:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bench.soak.sdk_researchers",
            json.dumps({**given, "began": time.time() - journal.now, "keys": dict(keys), "jobs": own}),
            cwd=ROOT,
            env=_environment(bundle),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
        try:
            assert process.stdout is not None
            async for line in process.stdout:
                journal.take(json.loads(line))
            if await process.wait() != 0:
                raise RuntimeError("the process of Ember's SDK failed; its last lines above say why")
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()


def _environment(bundle: str) -> dict[str, str]:
    paths = [LIBRARY, ROOT, Path(ROOT / "protos/gen")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "SSL_CERT_FILE": bundle}

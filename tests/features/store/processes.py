"""Other processes of the store's tests."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).parents[3]


@asynccontextmanager
async def python(module: str, *arguments: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """Runs a module of the tests, its output to be read; killed at the end, if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"tests.features.store.{module}",
        *map(str, arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def number(process: asyncio.subprocess.Process) -> int:
    """The next line, which is a number."""
    assert process.stdout is not None
    return int(await asyncio.wait_for(process.stdout.readline(), 60))

"""Both services of tiny_platform.py in a process of their own; arguments: a folder, and the ports of both."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from tests.autosteer.tiny_platform import platform_in


async def main(folder: Path, ports: tuple[int, int]) -> None:
    """Serves until it is killed; each start makes the same model and catalogue anew."""
    async with platform_in(folder, ports):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) / str(os.getpid()), (int(sys.argv[2]), int(sys.argv[3]))))

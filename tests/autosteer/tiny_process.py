"""Both services of tiny_platform.py in a process of their own; arguments: a folder, inference's port, features' port."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.autosteer.tiny_platform import platform_in


async def main(folder: Path, ports: tuple[int, int]) -> None:
    """Serves until it is killed."""
    async with platform_in(folder, ports):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), (int(sys.argv[2]), int(sys.argv[3]))))

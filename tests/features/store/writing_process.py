"""A process that writes to an embedded store until it is killed: FOLDER.

Prints how many points have been acknowledged, after every upsert.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from services.features.store.edge import EdgeStore
from tests.features.store.points import SCHEMA, point

BATCH = 16


async def main(folder: Path) -> None:
    store = await EdgeStore.open(folder, threads=1)
    await store.create("features", SCHEMA)
    await store.switch("live", "features")
    written = 0
    while True:
        await store.upsert("live", [point(index) for index in range(written, written + BATCH)])
        written += BATCH
        sys.stdout.write(f"{written}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))

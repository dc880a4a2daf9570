"""A process that writes through the domain, for tests of several at once and of killed ones.

`write URL` makes variants, revisions and vectors without end, and prints the name of each once it is acknowledged.
`race URL` reads lines `variant-id etag`, changes the variant each time, and prints `won` or `lost`.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys

import numpy as np

from services.database.database import Database
from services.database.settings import DatabaseSettings
from services.errors import EtagMismatch
from services.features.embedding_cache import EmbeddingCache
from services.features.revisions import Change, Revisions
from services.features.variants import VariantChange, VariantContent, Variants


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def write(database: Database) -> None:
    variants, revisions, cache = Variants(database), Revisions(database), EmbeddingCache(database)
    for number in range(1_000_000):
        content = VariantContent(f"{number}", "whole", "m", f"{number}".encode() * 1000)
        variant = await variants.create("ann", content)
        say("created", variant.id)
        await variants.update("ann", variant.id, VariantChange(description="changed"), variant.etag)
        say("changed", variant.id)
        change = Change("sae", number % 3, f"{number}", None, "", "", "ann")
        revision = await revisions.append(change)
        say("revised", revision.index, revision.revision, revision.label)
        digest = hashlib.sha256(f"{number}".encode()).digest()
        await cache.put("e", {digest: np.full(384, number % 7, np.float32)})
        say("embedded", digest.hex(), number % 7)


async def race(database: Database) -> None:
    variants = Variants(database)
    say("ready")
    for line in sys.stdin:
        variant_id, etag = line.split()
        try:
            change = VariantChange(description=str(os.getpid()))
            await variants.update("ann", variant_id, change, etag)
            say("won")
        except EtagMismatch:
            say("lost")


if __name__ == "__main__":
    asyncio.run({"write": write, "race": race}[sys.argv[1]](Database(DatabaseSettings(sys.argv[2]))))

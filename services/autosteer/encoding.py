"""The sentence encoder of a process: loaded once, when it is first asked for, and run on one thread.

Each thread that runs it would keep 80 MB of its own, and several gain nothing: they share the cores that it takes.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from services.autosteer.judges.registry import Encode
from services.encoder.minilm import ensure_minilm, load_encoder
from services.errors import DependencyUnavailable
from services.fetched.errors import SetupError


class LazyEncoder:
    """all-MiniLM-L6-v2, or another encoder from a folder."""

    def __init__(self, folder: Path | None, threads: int) -> None:
        self._folder, self._threads = folder, threads
        self._loaded: Encode | None = None
        self._loading = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "encoder")

    async def get(self) -> Encode:
        """The encoder. Raises DependencyUnavailable where it cannot be loaded."""
        async with self._loading:
            if self._loaded is None:
                try:
                    self._loaded = await asyncio.get_running_loop().run_in_executor(self._thread, self._load)
                except (OSError, ValueError, ImportError, SetupError) as error:
                    raise DependencyUnavailable("the sentence encoder", str(error), 10.0) from error
            return self._loaded

    def _load(self) -> Encode:
        encode = load_encoder(self._folder or ensure_minilm(progress=False), self._threads)
        return lambda texts: self._thread.submit(encode, texts).result()

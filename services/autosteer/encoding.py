"""The sentence encoder of a process: loaded once, when it is first asked for."""

from __future__ import annotations

import asyncio
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

    async def get(self) -> Encode:
        """The encoder. Raises DependencyUnavailable where it cannot be loaded."""
        async with self._loading:
            if self._loaded is None:
                try:
                    self._loaded = await asyncio.to_thread(self._load)
                except (OSError, ValueError, ImportError, SetupError) as error:
                    raise DependencyUnavailable("the sentence encoder", str(error), 10.0) from error
            return self._loaded

    def _load(self) -> Encode:
        return load_encoder(self._folder or ensure_minilm(progress=False), self._threads)

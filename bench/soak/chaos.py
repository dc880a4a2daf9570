"""What goes wrong: processes are killed, stopped in their tracks, flooded; and how soon each works again."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence

from bench.soak.floods import flood_autosteer, flood_inference
from bench.soak.journal import Journal
from bench.soak.plan import PAUSES, Misfortune
from bench.soak.platform import Platform
from bench.soak.probes import Probes
from bench.soak.ways import GrpcWay
from tests.database.postgres import PostgresServer


class Chaos:
    """Lets everything of a schedule happen, one after the other."""

    def __init__(
        self,
        platform: Platform,
        probes: Probes,
        journal: Journal,
        flooders: Sequence[GrpcWay],
        model: str,
        postgres: PostgresServer | None,
    ) -> None:
        self._platform, self._probes, self._journal = platform, probes, journal
        self._flooders, self._model, self._postgres = flooders, model, postgres

    async def run(self, schedule: Sequence[Misfortune]) -> None:
        """Returns when all is over."""
        for each in schedule:
            await asyncio.sleep(max(0.0, each.at - self._journal.now))
            self._journal.write("misfortune", what=each.kind, target=each.target)
            seconds = await getattr(self, f"_{each.kind}")(each.target)
            self._journal.write("over", what=each.kind, target=each.target, seconds=seconds)

    async def _kill(self, target: str) -> float | None:
        while not self._platform.send(target, signal.SIGKILL):  # noqa: ASYNC110 (it is just being started again)
            await asyncio.sleep(0.2)
        seconds = await self._probes.recovery(target)
        if target == "features" and seconds is not None:
            more = await self._probes.recovery("search")  # which needs the encoder
            self._journal.write("searches", seconds=None if more is None else seconds + more)
        return seconds

    async def _pause(self, target: str) -> float | None:
        self._platform.send(target, signal.SIGSTOP)
        try:
            await asyncio.sleep(PAUSES[target])
        finally:
            self._platform.send(target, signal.SIGCONT)
        return await self._probes.recovery(target)

    async def _flood(self, target: str) -> None:
        flood = flood_inference if target == "inference" else flood_autosteer
        await flood(self._journal, self._flooders, self._model)

    async def _crash(self, target: str) -> float | None:
        """PostgreSQL ends without a word to anyone, and is started again."""
        assert self._postgres is not None
        await asyncio.to_thread(self._postgres.stop, "immediate")
        await asyncio.to_thread(self._postgres.start)
        using = [self._probes.recovery(name) for name in ("features", "autosteer", "gateway")]
        seconds = [found for found in await asyncio.gather(*using) if found is not None]
        return max(seconds) if len(seconds) == len(using) else None

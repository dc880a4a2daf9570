"""Runs Hearth's processes as children: starts them, waits until they serve, forwards logs, stops all together.

Children that keep nothing in memory that would be lost are started again where they die.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

POLL_SECONDS = 0.2
"""How often a starting process is asked whether it serves."""
LINE_BYTES = 1 << 20
"""Longest log line."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0
"""Seconds before a child that died starts again: doubled each time, up to the longest."""
MOST_DEATHS, DEATH_SECONDS = 5, 60.0
"""A child that dies so often within so many seconds is given up."""
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Child:
    """A process to run."""

    name: str
    """How it is called in front of its log lines and in messages."""
    command: Sequence[str]
    address: str
    """`host:port` at which its health is asked; empty where nobody need wait for it."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to this process's own."""
    restarts: bool = False
    """Whether it is started again where it dies; else all of them end with it."""
    restarts_once_ready: bool = False
    """The same, but only after all were ready: one that cannot even start has a problem that somebody must solve."""


class ChildDied(Exception):
    """A process ended that should run on."""

    def __init__(self, name: str, code: int, *, started: bool) -> None:
        super().__init__(f"{name} {_how(code)} {'while it ran' if started else 'before it could serve'}")
        self.name, self.code = name, code


@dataclass(frozen=True, slots=True)
class Supervisor:
    """Runs some children until it is stopped, or one of them dies that is not to be started again."""

    children: Sequence[Child]
    is_serving: Callable[[str], Awaitable[bool]]
    """Whether the process at an address serves."""
    show: Callable[[str, str], None]
    """Takes each log line: the child's name, the line."""
    ready: Callable[[], Awaitable[None]]
    """Called once all of them serve; cancelled where it is not done when they are stopped."""
    drain_seconds: float
    """How long a child may take to end after SIGTERM, before SIGKILL."""

    async def run(self) -> None:
        """Returns after SIGINT, SIGTERM or SIGHUP, once all have ended. Raises ChildDied, once the others have ended.

        A second signal kills what still runs.
        """
        stop, hurry = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def handle() -> None:
            (hurry if stop.is_set() else stop).set()

        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, handle)
        running: list[_Running] = []
        try:
            for child in self.children:
                running.append(await _Running.start(child, self.show))
            await self._until_stopped(running, stop)
        finally:
            await _end(running, self.drain_seconds, hurry)
            for number in _STOP_SIGNALS:
                loop.remove_signal_handler(number)

    async def _until_stopped(self, running: list[_Running], stop: asyncio.Event) -> None:
        stopped = asyncio.create_task(stop.wait())
        telling: asyncio.Task[None] | None = None
        deaths = {asyncio.create_task(each.process.wait()): each for each in running}
        pauses: dict[asyncio.Task[None], Child] = {}
        history: dict[str, list[float]] = {}
        serving = asyncio.create_task(self._until_serving())
        started = False
        pending: set[asyncio.Task[Any]] = {stopped, serving, *deaths}
        try:
            while not stop.is_set():
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for death in done & deaths.keys():
                    each = deaths.pop(death)
                    await each.forwarding  # what it said last tells why
                    if not stop.is_set():
                        is_ready = telling is not None and telling.done()
                        pause = self._pause(each, death.result(), history, started=started, is_ready=is_ready)
                        pauses[pause] = each.child
                        pending.add(pause)
                for pause in done & pauses.keys():
                    if not stop.is_set():
                        again = await _Running.start(pauses.pop(pause), self.show)
                        running.append(again)
                        death = asyncio.create_task(again.process.wait())
                        deaths[death] = again
                        pending.add(death)
                if serving in done:
                    serving.result()
                    started = True
                    telling = asyncio.create_task(self._tell())  # meanwhile a child may die, or a signal come
                    pending.add(telling)
                if telling is not None and telling in done:
                    telling.result()
        finally:
            tasks = [stopped, serving, *deaths, *pauses, *([telling] if telling else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _pause(
        self, dead: _Running, code: int, history: dict[str, list[float]], *, started: bool, is_ready: bool
    ) -> asyncio.Task[None]:
        """Ends when a child that died is to start again. Raises ChildDied where it is not."""
        child, now = dead.child, asyncio.get_running_loop().time()
        recent = [when for when in history.get(child.name, []) if now - when < DEATH_SECONDS]
        history[child.name] = [*recent, now]
        restarts = child.restarts or (child.restarts_once_ready and is_ready)
        if not restarts or len(recent) + 1 >= MOST_DEATHS:
            raise ChildDied(child.name, code, started=started)
        self.show(child.name, f"{child.name} {_how(code)}; it starts again")
        return asyncio.create_task(asyncio.sleep(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** len(recent))))

    async def _tell(self) -> None:
        await self.ready()

    async def _until_serving(self) -> None:
        for child in self.children:
            while child.address and not await self.is_serving(child.address):  # noqa: ASYNC110 (it has no event to wait for)
                await asyncio.sleep(POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class _Running:
    child: Child
    process: asyncio.subprocess.Process
    forwarding: asyncio.Task[None]

    @classmethod
    async def start(cls, child: Child, show: Callable[[str, str], None]) -> _Running:
        process = await asyncio.create_subprocess_exec(
            *_tied(child.command),
            env={**os.environ, "PYTHONUNBUFFERED": "1", **child.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=LINE_BYTES,
            process_group=0,  # else Ctrl-C would reach it too, beside the SIGTERM that it gets from here
        )
        assert process.stdout is not None
        return cls(child, process, asyncio.create_task(_forward(child.name, process.stdout, show)))


def _tied(command: Sequence[str]) -> list[str]:
    """The command, told to end when this process is killed without a chance to stop it (where the system can)."""
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return [setpriv, "--pdeathsig", "TERM", "--", *command] if setpriv else list(command)


async def _forward(name: str, lines: asyncio.StreamReader, show: Callable[[str, str], None]) -> None:
    while True:
        try:
            line = await lines.readline()
        except ValueError:  # longer than LINE_BYTES: what was read so far is dropped
            continue
        if not line:
            return
        show(name, line.decode("utf-8", "replace").rstrip("\r\n"))


async def _end(running: Sequence[_Running], drain_seconds: float, hurry: asyncio.Event) -> None:
    """SIGTERM to all, SIGKILL to those that are not gone in time or when a second signal comes; then the last logs."""
    for each in running:
        _send(each.process, signal.SIGTERM)
    gone = asyncio.create_task(_all_gone(running))
    hurried = asyncio.create_task(hurry.wait())
    waiting: set[asyncio.Task[Any]] = {gone, hurried}
    await asyncio.wait(waiting, timeout=drain_seconds, return_when=asyncio.FIRST_COMPLETED)
    hurried.cancel()
    if not gone.done():
        for each in running:
            _send(each.process, signal.SIGKILL)
    await gone
    await asyncio.gather(*(each.forwarding for each in running))


async def _all_gone(running: Sequence[_Running]) -> None:
    for each in running:
        await each.process.wait()


def _send(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.send_signal(number)


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"

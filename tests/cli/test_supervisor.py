"""The supervisor starts its children, waits until they serve, names the one that dies, and stops all together."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from services.cli import supervisor
from services.cli.supervisor import Child, ChildDied, Supervisor

SERVE = """
import pathlib, signal, sys, time
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
print("pid", __import__("os").getpid())
pathlib.Path(sys.argv[1]).touch()
while not stop:
    time.sleep(0.01)
print("drained")
"""
"""A child that serves until SIGTERM."""
STUBBORN = SERVE.replace("while not stop", "while True")
DIES = "print('no such model'); raise SystemExit(3)"


@dataclass
class Stage:
    """Children, what they said, and whether all were ready."""

    folder: Path
    lines: list[tuple[str, str]] = field(default_factory=list)
    ready: bool = False
    when_ready: Callable[[], None] = lambda: None
    endless: bool = False
    """Whether what is done when all serve takes for ever."""

    def child(self, name: str, code: str) -> Child:
        return Child(name, (sys.executable, "-c", code, str(self.folder / name)), str(self.folder / name))

    def supervisor(self, *children: Child, drain: float = 20) -> Supervisor:
        async def serving(address: str) -> bool:
            return os.path.exists(address)  # noqa: ASYNC240

        async def ready() -> None:
            self.ready = True
            self.when_ready()
            if self.endless:
                try:
                    await asyncio.Event().wait()
                finally:
                    self.ready = False

        return Supervisor(children, serving, lambda name, line: self.lines.append((name, line)), ready, drain)

    def gone(self) -> bool:
        pids = [int(line.split()[1]) for _, line in self.lines if line.startswith("pid")]
        assert pids
        return not any(map(alive, pids))


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def interrupt(number: signal.Signals = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_stops_all_children_which_may_finish_what_they_do(
    stage: Stage, number: signal.Signals
) -> None:
    stage.when_ready = lambda: interrupt(number)
    await stage.supervisor(stage.child("one", SERVE), stage.child("two", SERVE)).run()
    assert stage.ready
    assert {("one", "drained"), ("two", "drained")} <= set(stage.lines)
    assert stage.gone()


async def test_a_signal_also_ends_what_is_done_when_all_serve(stage: Stage) -> None:
    stage.when_ready, stage.endless = interrupt, True
    async with asyncio.timeout(30):
        await stage.supervisor(stage.child("one", SERVE)).run()
    assert ("one", "drained") in stage.lines
    assert not stage.ready
    assert stage.gone()


async def test_a_child_that_does_not_end_in_time_is_killed(stage: Stage) -> None:
    stage.when_ready = interrupt
    began = time.monotonic()
    await stage.supervisor(stage.child("one", STUBBORN), drain=0.2).run()
    assert time.monotonic() - began < 15
    assert stage.gone()


async def test_a_second_signal_does_not_wait(stage: Stage) -> None:
    def twice() -> None:
        interrupt()
        asyncio.get_running_loop().call_later(0.2, interrupt)

    stage.when_ready = twice
    async with asyncio.timeout(30):
        await stage.supervisor(stage.child("one", STUBBORN), drain=600).run()
    assert stage.gone()


async def test_a_child_that_dies_before_it_serves_is_named_with_its_last_words_and_the_others_are_stopped(
    stage: Stage,
) -> None:
    supervisor = stage.supervisor(
        stage.child("one", SERVE), stage.child("two", f"import time; time.sleep(1); {DIES}")
    )
    with pytest.raises(ChildDied, match="two ended with exit code 3 before it could serve"):
        await supervisor.run()
    assert ("two", "no such model") in stage.lines
    assert not stage.ready
    assert stage.gone()


async def test_a_child_that_is_killed_later_is_named_with_the_signal(stage: Stage) -> None:
    def kill() -> None:
        [pid] = [
            int(line.split()[1]) for name, line in stage.lines if name == "one" and line.startswith("pid")
        ]
        os.kill(pid, signal.SIGKILL)

    stage.when_ready, stage.endless = kill, True  # its death is seen also while something is done
    with pytest.raises(ChildDied, match="one was killed by SIGKILL while it ran"):
        await stage.supervisor(stage.child("one", SERVE), stage.child("two", SERVE)).run()
    assert stage.gone()


async def test_a_line_too_long_for_the_buffer_does_not_stop_the_forwarding(stage: Stage) -> None:
    stage.when_ready = interrupt
    code = "print('x' * (3 << 20)); print('after')\n" + SERVE
    await stage.supervisor(stage.child("one", code)).run()
    assert ("one", "after") in stage.lines


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tie a child to its parent")
async def test_children_end_even_where_the_supervisor_is_killed(stage: Stage, tmp_path: Path) -> None:
    script = tmp_path / "supervise.py"
    script.write_text(
        "import asyncio, sys\n"
        "from tests.cli.test_supervisor import SERVE, Stage\n"
        "from pathlib import Path\n"
        "stage = Stage(Path(sys.argv[1]))\n"
        "asyncio.run(stage.supervisor(stage.child('one', SERVE)).run())\n"
    )
    root = Path(__file__).parents[2]
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), str(tmp_path), cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    )
    await until(lambda: (tmp_path / "one").exists())
    pids = children_of(process.pid)
    assert pids
    process.kill()
    await process.wait()
    await until(lambda: not any(map(alive, pids)))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


ONCE_MORE = """
import os, pathlib, sys
if not os.path.exists(sys.argv[1]):
    pathlib.Path(sys.argv[1]).touch()
    os.kill(os.getpid(), 9)
"""
"""A child that is killed at its first start."""


async def test_a_child_that_may_be_started_again_is(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE", 0.0)
    worker = replace(stage.child("worker", ONCE_MORE + SERVE), address="", restarts=True)

    def show(name: str, line: str) -> None:
        stage.lines.append((name, line))
        if line.startswith("pid"):
            interrupt()

    await replace(stage.supervisor(worker), show=show).run()
    assert ("worker", "worker was killed by SIGKILL; it starts again") in stage.lines
    assert stage.gone()


async def test_a_child_that_dies_again_and_again_is_given_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE", 0.0)
    with pytest.raises(ChildDied, match="exit code 3"):
        await stage.supervisor(replace(stage.child("worker", DIES), restarts=True)).run()
    assert stage.lines.count(("worker", "no such model")) == supervisor.MOST_DEATHS


async def test_a_child_that_served_is_started_again_but_not_one_that_never_could(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE", 0.0)
    pids: list[int] = []

    def show(name: str, line: str) -> None:
        stage.lines.append((name, line))
        if line.startswith("pid"):
            pids.append(int(line.split()[1]))
        if stage.ready and len(pids) == 2:
            interrupt()

    async def kill() -> None:
        await until(lambda: stage.ready)
        os.kill(pids[0], signal.SIGKILL)

    served = replace(stage.child("inference", SERVE), restarts_once_ready=True)
    killing = asyncio.create_task(kill())
    await replace(stage.supervisor(served), show=show).run()
    await killing
    assert ("inference", "inference was killed by SIGKILL; it starts again") in stage.lines
    assert stage.gone()
    with pytest.raises(ChildDied, match="before it could serve"):
        await stage.supervisor(replace(stage.child("bad", DIES), restarts_once_ready=True)).run()

"""The whole platform as `hearth up` starts it, with the settings of production, on a folder of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.gateway_processes import ROOT
from services.autosteer.settings import AutoSteerSettings
from services.keys.settings import KeysSettings

START_SECONDS = 600.0
STOP_SECONDS = 90.0
LOG = "platform.log"
MAX_WAITING = 128
"""Requests that wait for the engine: what two cores do in about half a minute. A longer queue only hides that."""
PREFIX_BYTES = 128 << 20
"""Of the prefix cache: full within a process's warm-up, so that its filling is not taken for a leak."""
_PORTS = ("--port", "--features-port", "--autosteer-port", "--gateway-port")
_MODULES = {
    "services.inference": "inference",
    "services.features": "features",
    "services.autosteer": "autosteer",
    "services.autosteer.worker": "worker",
    "services.gateway": "gateway",
}
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process takes."""

    pid: int
    resident: int
    """Bytes."""
    cpu: float
    """Seconds of processor time since it began."""


@dataclass(frozen=True, slots=True)
class Platform:
    """A running `hearth up`."""

    process: subprocess.Popen[bytes]
    log: Path
    keys: KeysSettings
    socket: Path
    """Of the broker."""

    @property
    def url(self) -> str:
        """Of the gateway."""
        return self._named(r"The page on (http://\S+)")

    @property
    def inference(self) -> str:
        return self._named(r"HEARTH_ADDRESS=(\S+)")

    @property
    def features(self) -> str:
        return self._named(r"HEARTH_FEATURES_ADDRESS=(\S+)")

    @property
    def autosteer(self) -> str:
        return self._named(r"HEARTH_AUTOSTEER_ADDRESS=(\S+)")

    def pids(self) -> dict[str, int]:
        """The processes that run now, by name."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        found = {}
        for pid in map(int, children):
            try:
                arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            except OSError:  # gone meanwhile
                continue
            name = next((_MODULES[each] for each in arguments if each in _MODULES), "")
            if name or "valkey" in arguments[0]:
                found[name or "broker"] = pid
        return found

    def usage(self) -> dict[str, Usage]:
        """What each process takes now."""
        found = {}
        for name, pid in self.pids().items():
            try:
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            cpu = (int(fields[11]) + int(fields[12])) / _TICKS
            found[name] = Usage(pid, pages * os.sysconf("SC_PAGE_SIZE"), cpu)
        return found

    def send(self, name: str, number: signal.Signals) -> bool:
        """Signals a process; whether there was one."""
        pid = self.pids().get(name)
        if pid is not None:
            os.kill(pid, number)
        return pid is not None

    def _named(self, pattern: str) -> str:
        found = re.search(pattern, self.log.read_text("utf-8", "replace"))
        if found is None:
            raise RuntimeError(f"hearth up did not say {pattern}")
        return found[1]


@contextmanager
def running(folder: Path, logs: Path, database: Mapping[str, str]) -> Iterator[Platform]:
    """`hearth up` on free ports, what it keeps in one folder, its log in another. `database`: URLs by settings."""
    environment = {
        "HEARTH_INFERENCE_MAX_WAITING": str(MAX_WAITING),
        "HEARTH_INFERENCE_PREFIX_BYTES": str(PREFIX_BYTES),
        **{name: value for name, value in os.environ.items() if _passes(name)},
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'protos/gen'}",
        "COLUMNS": "200",
        "XDG_DATA_HOME": str(folder / "data"),
        "HEARTH_GATEWAY_DEV_KEY": "false",
        **database,
    }
    command = [sys.executable, "-m", "services.cli", "up"]
    command += [word for port in _PORTS for word in (port, "0")]
    log = logs / LOG
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    keys = KeysSettings(
        data_dir=folder / "data/hearth/gateway", database_url=database.get("HEARTH_GATEWAY_DATABASE_URL", "")
    )
    socket = AutoSteerSettings(data_dir=folder / "data/hearth/autosteer").socket
    platform = Platform(process, log, keys, socket)
    try:
        _until_ready(process, log)
        yield platform
    finally:
        for name in ("features", "broker"):  # one that is paused would never end
            if process.poll() is None:
                platform.send(name, signal.SIGCONT)
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _passes(variable: str) -> bool:
    """Whether a variable of this process may reach the platform: none that sets where things lie."""
    return variable.startswith("HEARTH_INFERENCE_") or not variable.startswith(("HEARTH_", "REDIS_", "OMP_"))


def _until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while "Ctrl-C stops it" not in (text := log.read_text("utf-8", "replace")):
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"the platform does not start: {text[-4000:]}")
        time.sleep(0.5)


def logged(log: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The lines of all processes that are JSON, each with the process's name."""
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            name, _, text = line.partition(" │ ")
            if text.startswith("{"):
                try:
                    yield name.strip(), json.loads(text)
                except ValueError:  # cut where its process was killed
                    continue


def faults(log: Path) -> Counter[str]:
    """What no log of a sound platform has: INTERNAL, UNKNOWN, errors and tracebacks; how often each.

    What Celery says of a broker that was killed does not count: it connects again, and the jobs are in SQL.
    """
    found: Counter[str] = Counter()
    for name, line in logged(log):
        wrong = line.get("code") in ("INTERNAL", "UNKNOWN") or line.get("status") == 500
        last = str(line.get("traceback") or "").strip().rpartition("\n")[2]
        broker = str(line.get("logger")).startswith(("celery.", "kombu.")) and "ConnectionError" in last
        if wrong or (line.get("level") in ("ERROR", "CRITICAL") and not broker):
            where = line.get("method") or line.get("route") or ""
            found[f"{name}: {line.get('message')} {where} {line.get('code') or ''} {last}".strip()] += 1
    return found

"""The platform as `hearth up` starts it: real processes, the embedded model, its SAE and its catalogue."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.cli.test_command import ENVIRONMENT, HEARTH

START_SECONDS = 600
_PORTS = ("--port", "--features-port", "--autosteer-port", "--gateway-port")


@dataclass
class Platform:
    """A running `hearth up`."""

    process: subprocess.Popen[str]
    environment: dict[str, str]
    """In which `hearth` finds it."""
    lines: list[str] = field(default_factory=list)
    """What it has printed, logs of all processes included."""
    changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        """Of the gateway."""
        return self._named(r"The page on (http://\S+)")

    @property
    def inference(self) -> str:
        """The inference service's address."""
        return self._named(r"HEARTH_ADDRESS=(\S+)")

    @property
    def features(self) -> str:
        """The features process's address."""
        return self._named(r"HEARTH_FEATURES_ADDRESS=(\S+)")

    @property
    def autosteer(self) -> str:
        """The auto-steer server's address."""
        return self._named(r"HEARTH_AUTOSTEER_ADDRESS=(\S+)")

    def key(self, owner: str, *options: str) -> str:
        """A new key, made as an operator makes it."""
        command = [*HEARTH, "keys", "create", "--owner", owner, *options]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def kill(self, name: str) -> None:
        """Ends a process at once, as a crash would: `inference`, `features` ..."""
        tasks = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in map(int, tasks):
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            if f"services.{name}" in arguments:
                os.kill(pid, signal.SIGKILL)
                return
        raise AssertionError(f"no process of services.{name} runs")

    def wait_for(self, text: str, after: int = 0) -> int:
        """Returns once a line has a text, the first `after` of them aside: how many lines there were then."""

        def found() -> int:
            return next((n + 1 for n, line in enumerate(self.lines) if n >= after and text in line), 0)

        with self.changed:
            assert self.changed.wait_for(lambda: found() or self.process.poll() is not None, START_SECONDS)
        assert found(), "".join(self.lines[-40:])
        return found()

    def read(self) -> None:
        """Takes in what it prints, until its end."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line)
                self.changed.notify_all()
        self.process.wait()
        with self.changed:
            self.changed.notify_all()

    def _named(self, pattern: str) -> str:
        found = re.search(pattern, "".join(self.lines))
        assert found is not None, pattern
        return found[1]


@contextmanager
def platform_in(folder: Path) -> Iterator[Platform]:
    """`hearth up` on free ports, all that it keeps in a folder."""
    environment = {
        **ENVIRONMENT,
        "HEARTH_INFERENCE_MAX_CONTEXT": "512",  # so that an answer ends for which nobody said how long it may be
        "HEARTH_INFERENCE_THREADS": "1",  # beside other tests
        "HEARTH_METRICS_PORT": "0",
        "OMP_NUM_THREADS": "1",
        "XDG_DATA_HOME": str(folder),
    }
    command = [*HEARTH, "up", "--device", "cpu", *(part for port in _PORTS for part in (port, "0"))]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    platform = Platform(process, environment)
    reading = threading.Thread(target=platform.read, daemon=True)
    reading.start()
    try:
        platform.wait_for("Ctrl-C stops it")
        yield platform
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, "".join(platform.lines[-40:])
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        reading.join(10)

"""Hearth's processes as `make up` starts them, on free ports."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

ROOT = Path(__file__).parents[2]
START_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Process:
    """A process that serves."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path

    def kill(self) -> None:
        """Ends it at once, as a crash would."""
        self.process.kill()
        self.process.wait()


class Running:
    """Starts `python -m services.NAME` on a free port, waits until it serves, stops it by SIGTERM."""

    def __init__(self, name: str, **settings: object) -> None:
        self._name, self._settings = name, settings
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Process:
        port = free_port()
        prefix = f"HEARTH_{self._name.upper()}"
        environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'protos/gen'}",
            f"{prefix}_PORT": str(port),
            **{f"{prefix}_{key.upper()}": str(value) for key, value in self._settings.items()},
        }
        log = Path(tempfile.mkstemp(suffix=".log")[1])
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"services.{self._name}"],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=output,
            )
        address = f"127.0.0.1:{port}"
        try:
            wait_until_serving(address, self._process)
        except BaseException as problem:
            self._process.kill()
            raise AssertionError(f"the server did not start: {log.read_text()[-4000:]}") from problem
        return Process(self._process, address, log)

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)  # nothing happens to one that was killed
        try:
            self._process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise


def free_port() -> int:
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_until_serving(address: str, process: subprocess.Popen[bytes]) -> None:
    """Returns once health says SERVING; follows health's own stream of changes."""
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(timeout=START_SECONDS)
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(), timeout=START_SECONDS
        )
        for answer in watch:
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                watch.cancel()
                return
    raise AssertionError(f"the process ended with {process.poll()}")

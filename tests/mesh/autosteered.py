"""Auto-steer as `hearth up` runs it: broker, server and worker, each of which can be killed, beside a tiny platform."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from hearth.v1 import autosteer_service_pb2 as pb
from hearth.v1 import autosteer_service_pb2_grpc as rpc
from services.autosteer.broker import broker_command
from services.autosteer.settings import AutoSteerSettings
from tests.mesh.processes import ROOT, free_port, wait_until_serving

TIMEOUT = 30
PATIENCE = 600.0
"""Seconds in which a job of the tiny model ends, on a machine that is busy."""


@dataclass
class Stack:
    """The processes by name: tiny, broker, server, worker."""

    folder: Path
    environment: dict[str, str]
    commands: dict[str, list[str]]
    ports: dict[str, int]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.ports['server']}"

    def start(self, *names: str) -> None:
        for name in names:
            with (self.folder / f"{name}.log").open("ab") as log:
                self.running[name] = subprocess.Popen(
                    self.commands[name], cwd=ROOT, env=self.environment, stdout=log, stderr=log
                )
        for name in names:
            if name in ("tiny", "server"):
                self._wait(name)

    def _wait(self, name: str) -> None:
        """Until it serves. A connection to the process that was killed may seem to be alive for a moment."""
        while self.running[name].poll() is None:
            with suppress(grpc.RpcError):
                return wait_until_serving(f"127.0.0.1:{self.ports[name]}", self.running[name])
        raise AssertionError(f"{name} did not start: {self.log(name)[-3000:]}")

    def kill(self, name: str) -> None:
        """As a crash does."""
        self.running[name].kill()
        self.running[name].wait()

    def lose_broker_data(self) -> None:
        shutil.rmtree(self.folder / "data" / "broker")
        (self.folder / "data" / "broker").mkdir()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    @contextmanager
    def stub(self) -> Iterator[rpc.AutoSteerServiceStub]:
        with grpc.insecure_channel(self.address) as channel:
            yield rpc.AutoSteerServiceStub(channel)

    def create(self, **spec: object) -> str:
        """A quick job's id."""
        asked = pb.AutoSteerSpec(**{"behavior": "write about the sea and ships", "seed": 3, **spec})  # type: ignore[arg-type]
        asked.tier = asked.tier or pb.AUTO_STEER_TIER_QUICK
        with self.stub() as stub:
            return stub.CreateAutoSteerJob(pb.CreateAutoSteerJobRequest(spec=asked), timeout=TIMEOUT).job.id

    def watch(self, job_id: str, after: int = 0) -> Iterator[pb.WatchAutoSteerJobResponse]:
        """The events, however often the server goes away."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            with self.stub() as stub, suppress(grpc.RpcError):
                request = pb.WatchAutoSteerJobRequest(id=job_id, after_sequence=after)
                for event in stub.WatchAutoSteerJob(request, timeout=PATIENCE, wait_for_ready=True):
                    yield event
                    after = event.sequence
                    if event.WhichOneof("event") == "ended":
                        return
        raise AssertionError(f"the job does not end; the worker says: {self.log('worker')[-3000:]}")


@contextmanager
def stack_in(
    folder: Path,
    database_url: str = "",
    redis: list[str] | None = None,
    processes: Sequence[str] = ("tiny", "broker", "server", "worker"),
    **more: object,
) -> Iterator[Stack]:
    """The processes, started. `redis` starts a real redis-server in the embedded broker's place."""
    ports = {name: free_port() for name in ("tiny", "features", "server", "redis")}
    data = folder / "data"
    settings = {
        "port": ports["server"],
        "data_dir": data,
        "database_url": database_url,
        "inference": f"127.0.0.1:{ports['tiny']}",
        "features": f"127.0.0.1:{ports['features']}",
        "lease_seconds": 10,
        "reconcile_seconds": 0.5,
        "drain_seconds": 1,
        **({"redis_url": f"redis://127.0.0.1:{ports['redis']}/0"} if redis else {}),
        **more,
    }
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'protos/gen'}",
        "OMP_NUM_THREADS": "1",
        **{f"HEARTH_AUTOSTEER_{key.upper()}": str(value) for key, value in settings.items()},
    }
    (data / "broker").mkdir(parents=True)
    broker = broker_command(AutoSteerSettings(data_dir=data))
    if redis:
        broker = [*redis, "--port", str(ports["redis"]), "--dir", str(data / "broker"), "--appendonly", "yes"]
    python = [sys.executable, "-m"]
    commands = {
        "tiny": [
            *python,
            "tests.autosteer.tiny_process",
            str(folder / "tiny"),
            str(ports["tiny"]),
            str(ports["features"]),
        ],
        "broker": broker,
        "server": [*python, "services.autosteer"],
        "worker": [*python, "services.autosteer.worker"],
    }
    stack = Stack(folder, environment, commands, ports)
    try:
        stack.start(*processes)
        yield stack
    finally:
        for process in stack.running.values():
            process.kill()
            process.wait()

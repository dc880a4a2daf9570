"""Peers in processes of their own, stopped while it is not their turn, so that none takes another's cores."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.races import PeerFailed
from bench.workload import Request, Stream, request_to_json, stream_from_json

ROOT = Path(__file__).resolve().parents[2]
LOGS = ROOT / "bench" / "scratch"


@dataclass(frozen=True, slots=True)
class PeerSpec:
    """An entry of the registry of peers."""

    name: str
    module: str
    """Has `load(options)`, which returns a bench.peers.base.Peer."""
    options: Mapping[str, Any] = field(default_factory=dict)
    python: Path | None = None
    """The interpreter of an environment of its own; None for this one."""
    environment: Mapping[str, str] = field(default_factory=dict)
    install: str = ""
    """What to run where that interpreter is missing."""


class PeerProcess:
    """One peer's process. Between its turns the whole process group is stopped."""

    def __init__(self, spec: PeerSpec, options: Mapping[str, Any], threads: int) -> None:
        python = spec.python or Path(sys.executable)
        if not python.exists():
            raise PeerFailed(f"{spec.name} is not installed: {spec.install}")
        LOGS.mkdir(exist_ok=True)
        self.spec = spec
        self.log = LOGS / f"{spec.name}.log"
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "protos" / "gen")]),
            **spec.environment,
        }
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [str(python), "-m", "bench.peers.worker", spec.module],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        try:
            self.about = str(self._ask("load", options={**spec.options, **options, "threads": threads}))
        except PeerFailed:
            self.close()
            raise
        self._stop()

    def run(
        self, requests: Sequence[Request], max_batch: int | None, options: Mapping[str, Any]
    ) -> list[Stream]:
        """One run, in the peer's turn."""
        rows = [request_to_json(r) for r in requests]
        answer = self.call("run", requests=rows, max_batch=max_batch, options=dict(options))
        return [stream_from_json(s) for s in answer]

    def call(self, op: str, **content: Any) -> Any:
        """Any other question, in the peer's turn."""
        self._signal(signal.SIGCONT)
        try:
            return self._ask(op, **content)
        finally:
            self._stop()

    def close(self) -> None:
        """Ends the process and what it started."""
        self._signal(signal.SIGCONT)
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGTERM)
            self._process.wait()

    def _ask(self, op: str, **content: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"op": op, **content}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise PeerFailed(f"{self.spec.name} ended during {op!r}; see {self.log}")
        reply = json.loads(line)
        if "error" in reply:
            raise PeerFailed(f"{self.spec.name}: {reply['error']} (more in {self.log})")
        return reply["answer"]

    def _stop(self) -> None:
        self._signal(signal.SIGSTOP)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def end_orderly() -> None:
    """Makes a polite request to end raise, so that stopped peers are not left behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


class Peers:
    """The peers of a benchmark run, each started when it is first asked."""

    def __init__(self, specs: Mapping[str, PeerSpec], options: Mapping[str, Any], threads: int) -> None:
        self._specs, self._options, self._threads = specs, options, threads
        self._running: dict[str, PeerProcess] = {}

    def __enter__(self) -> Peers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._running.values():
            process.close()

    def get(self, name: str) -> PeerProcess:
        """The peer's process. Raises PeerFailed where it cannot start."""
        if name not in self._running:
            self._running[name] = PeerProcess(self._specs[name], self._options, self._threads)
        return self._running[name]

    def run(
        self, peer: str, requests: Sequence[Request], max_batch: int | None, options: Mapping[str, object]
    ) -> list[Stream]:
        """One run of a peer; see Runner."""
        return self.get(peer).run(requests, max_batch, options)

    @property
    def about(self) -> dict[str, str]:
        """What each started peer says of itself."""
        return {name: process.about for name, process in self._running.items()}

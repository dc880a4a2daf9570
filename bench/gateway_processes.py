"""Inference and the gateway as `hearth up` starts them, for the benchmark of the gateway."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
START_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Ports:
    """Where both listen."""

    inference: int
    gateway: int


@contextmanager
def running(folder: Path) -> Iterator[Ports]:
    """Both, while it lasts; their logs and the gateway's keys lie in `folder`."""
    ports = Ports(_free_port(), _free_port())
    settings = {
        "HEARTH_INFERENCE_PORT": str(ports.inference),
        "HEARTH_GATEWAY_PORT": str(ports.gateway),
        "HEARTH_GATEWAY_INFERENCE": f"127.0.0.1:{ports.inference}",
        "HEARTH_GATEWAY_DATA_DIR": str(folder),
    }
    with ExitStack() as stack:
        processes = [
            stack.enter_context(_process(name, settings, folder)) for name in ("inference", "gateway")
        ]
        until = time.monotonic() + START_SECONDS
        while not _serves(ports.gateway):
            if time.monotonic() > until or any(each.poll() is not None for each in processes):
                logs = "".join((folder / f"{name}.log").read_text() for name in ("inference", "gateway"))
                raise RuntimeError(f"the processes do not start: {logs[-4000:]}")
            time.sleep(0.2)
        yield ports


@contextmanager
def _process(name: str, settings: dict[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'protos/gen'}", **settings}
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", f"services.{name}"], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _serves(port: int) -> bool:
    """Whether the gateway and inference serve; it says of the others that they do not, and needs none of them."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            serving = json.load(answer)["serving"]
    except urllib.error.HTTPError as error:
        serving = json.load(error)["serving"]
    except OSError:
        return False
    return bool(serving["inference"] and serving["keys"])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])

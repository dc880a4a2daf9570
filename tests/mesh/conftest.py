"""The platform as `make up` starts it: real processes, the embedded model, its SAE, real gRPC."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from hearth.v1 import inference_service_pb2_grpc as rpc
from hearth.v1 import prompt_pb2

ROOT = Path(__file__).parents[2]
START_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class InferenceProcess:
    """A running inference process."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path


@pytest.fixture(scope="session")
def inference(embedded_model: Path) -> Iterator[InferenceProcess]:
    """One inference process for all mesh tests, as small a queue as the load test needs."""
    with RunningInference() as process:
        yield process


class RunningInference:
    """Starts `python -m services.inference` on a free port, waits until it serves, stops it by SIGTERM."""

    def __init__(self, **settings: object) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> InferenceProcess:
        port = free_port()
        environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'protos/gen'}",
            "HEARTH_INFERENCE_PORT": str(port),
            **{f"HEARTH_INFERENCE_{k.upper()}": str(v) for k, v in self._settings.items()},
        }
        log = Path(tempfile.mkstemp(suffix=".log")[1])
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.inference"],
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
        return InferenceProcess(self._process, address, log)

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
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


@pytest.fixture
def stub(inference: InferenceProcess) -> Iterator[rpc.InferenceServiceStub]:
    """A plain client of the inference process."""
    with grpc.insecure_channel(inference.address) as channel:
        yield rpc.InferenceServiceStub(channel)


def chat(text: str, system: str = "") -> prompt_pb2.Prompt:
    """A prompt of one user message."""
    messages = [prompt_pb2.ChatMessage(role=prompt_pb2.ROLE_SYSTEM, content=system)] if system else []
    messages.append(prompt_pb2.ChatMessage(role=prompt_pb2.ROLE_USER, content=text))
    return prompt_pb2.Prompt(chat=prompt_pb2.Chat(messages=messages))

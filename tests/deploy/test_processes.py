"""The images' commands as processes: the environment of chart and images, their probes, their end by SIGTERM.

Addresses and ports are this machine's, PostgreSQL is SQLite, Valkey that of `hearth up`, Qdrant is embedded.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from services.autosteer.broker import broker_command
from services.autosteer.settings import AutoSteerSettings
from services.rpc.probe import serves
from tests.deploy.dockerfile import stage
from tests.deploy.rendering import REGISTRY, Pod, template
from tests.mesh.processes import free_port

ROOT = Path(__file__).parents[2]
PATIENCE = 300.0
PREFIXES = {"worker": "HEARTH_AUTOSTEER"}
ELSEWHERE = ("HEARTH_FEATURES_QDRANT_URL", "HEARTH_FEATURES_QDRANT_API_KEY", "VALKEY_PASSWORD", "PGPASSWORD")
"""What names a server that does not run here."""
IN_THE_IMAGE = ("PATH", "PYTHONPATH", "HEARTH_CACHE", "HF_HOME", "HOME")


class Container:
    """The process of an image as a pod runs it."""

    def __init__(self, name: str, folder: Path, **settings: str) -> None:
        (self._pod,) = (
            pod for pod in template(REGISTRY).component(name) if pod.owner["kind"] == "Deployment"
        )
        self.name, self._folder = name, folder
        self.port, self.health, self.metrics = free_port(), free_port(), free_port()
        self.environment = self._environment(settings)
        self._log = folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pod(self) -> Pod:
        return self._pod

    def _environment(self, settings: dict[str, str]) -> dict[str, str]:
        prefix = PREFIXES.get(self.name, f"HEARTH_{self.name.upper()}")
        image = {
            name: value for name, value in stage(self.name).environment.items() if name not in IN_THE_IMAGE
        }
        chart = {
            name: each.get("value", "1") for name, each in self._pod.env.items() if name not in ELSEWHERE
        }
        here = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}:{ROOT / 'protos/gen'}",
            "HOME": str(self._folder),
            "XDG_DATA_HOME": str(self._folder / "data"),
            "HEARTH_CACHE": os.environ.get("HEARTH_CACHE", str(Path.home() / ".cache/hearth")),
            "HEARTH_HEALTH_PORT": str(self.health),
            "HEARTH_METRICS_PORT": str(self.metrics),
            "HEARTH_METRICS_HOST": "127.0.0.1",
            f"{prefix}_PORT": str(self.port),
            f"{prefix}_HOST": "127.0.0.1",
            f"{prefix}_DATABASE_URL": f"sqlite:///{self._folder / self.name}.db",
        }
        return image | chart | here | settings

    def __enter__(self) -> Container:
        entrypoint = stage(self.name).entrypoint
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, *entrypoint[1:]],
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=output,
            )
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def log(self) -> str:
        return self._log.read_text()

    def passes(self, kind: str) -> bool:
        """Whether a probe of the chart passes, asked as the kubelet asks it."""
        probe = self._pod.container[kind]
        if "grpc" in probe:
            return serves(self.health, probe["grpc"].get("service", ""))
        url = f"http://127.0.0.1:{self.port}{probe['httpGet']['path']}"
        try:
            with urllib.request.urlopen(url, timeout=probe["timeoutSeconds"]) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.HTTPError):
            return False

    def until(self, what: Callable[[], bool]) -> None:
        """Waits until something is so."""
        assert self.process is not None
        deadline = time.monotonic() + PATIENCE
        while not what():
            with suppress(subprocess.TimeoutExpired):  # asked again after a moment, at once where it ends
                self.process.wait(timeout=0.2)
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()

    def stop(self) -> int:
        """Its exit status after SIGTERM; fails where it takes longer than Kubernetes would wait."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=min(60, self._pod.spec["terminationGracePeriodSeconds"]))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[str]:
    """The Valkey that `hearth up` starts; its address."""
    settings = AutoSteerSettings(data_dir=tmp_path)
    running = subprocess.Popen(broker_command(settings), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield settings.broker
    running.terminate()
    running.wait()


def ends_well(container: Container) -> None:
    """Starts, lives, becomes ready, tells its metrics and ends by SIGTERM."""
    with container:
        container.until(lambda: container.passes("startupProbe"))
        assert container.passes("livenessProbe"), container.log()
        container.until(lambda: container.passes("readinessProbe"))
        with urllib.request.urlopen(f"http://127.0.0.1:{container.metrics}/metrics", timeout=10) as answer:
            assert b"hearth_build_info" in answer.read()
        assert container.stop() == 0, container.log()


def test_the_gateway_is_ready_while_the_services_are_not_there(helm: None, tmp_path: Path) -> None:
    ends_well(Container("gateway", tmp_path))


@pytest.mark.platform
def test_a_worker_lives_and_ends_as_the_chart_says(helm: None, tmp_path: Path, broker: str) -> None:
    ends_well(Container("worker", tmp_path, HEARTH_AUTOSTEER_REDIS_URL=broker))


@pytest.mark.platform
def test_the_auto_steer_server_lives_and_ends_as_the_chart_says(
    helm: None, tmp_path: Path, broker: str
) -> None:
    ends_well(Container("autosteer", tmp_path, HEARTH_AUTOSTEER_REDIS_URL=broker))


@pytest.mark.platform
@pytest.mark.model
def test_features_live_and_end_as_the_chart_says(helm: None, tmp_path: Path, sentence_encoder: Path) -> None:
    ends_well(Container("features", tmp_path))


@pytest.mark.platform
@pytest.mark.model
def test_inference_is_alive_before_it_is_ready_and_ends_as_the_chart_says(
    helm: None, tmp_path: Path, embedded_model: Path
) -> None:
    container = Container("inference", tmp_path)
    with container:
        container.until(lambda: container.passes("livenessProbe"))
        assert not container.passes("startupProbe"), "the model was there at once"
        container.until(lambda: container.passes("startupProbe"))
        assert container.passes("readinessProbe")
        assert container.stop() == 0, container.log()

"""Envoy as deploy/envoy configures it, in front of servers of this machine."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from tests.mesh.processes import ROOT, free_port

ENVOY = ROOT / "deploy/envoy"
START_SECONDS = 30.0
NOWHERE = ("127.0.0.1", 9)


def configure() -> ModuleType:
    """deploy/envoy/configure.py."""
    if "configure" not in sys.modules:
        sys.path.insert(0, str(ENVOY))
        spec = importlib.util.spec_from_file_location("configure", ENVOY / "configure.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["configure"] = module
        spec.loader.exec_module(module)
        sys.path.remove(str(ENVOY))
    return sys.modules["configure"]


def command(*arguments: str) -> list[str]:
    """What runs Envoy."""
    return [str(Path(sys.executable).with_name("envoy")), *arguments]


def validated(path: Path) -> str:
    """What `--mode validate` says of a configuration."""
    done = subprocess.run(
        command("--mode", "validate", "-c", str(path)), capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


class Envoy:
    """Runs Envoy in front of `addresses`, by service, each `host:port`; with a folder of certificates, edge.yaml."""

    def __init__(self, addresses: Mapping[str, Sequence[str]], certificates: Path | None = None) -> None:
        self._addresses, self._certificates = addresses, certificates
        self._folder = tempfile.TemporaryDirectory(prefix="envoy-")
        self.port, self._admin = free_port(), free_port()

    @property
    def address(self) -> str:
        """Where clients call."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Envoy:
        folder = Path(self._folder.name)
        made = configure()
        hosts = {name: [NOWHERE] for name in ("inference", "features", "autosteer", "gateway")}
        for name, addresses in self._addresses.items():
            hosts[name] = [(host, int(port)) for host, port in (each.split(":") for each in addresses)]
        plan = made.Plan(
            port=self.port,
            admin_port=self._admin,
            host="127.0.0.1",
            tls=self._certificates is not None,
            addresses=hosts,
            secrets=str(folder),
        )
        for name, secret in made.secrets(str(self._certificates)).items():
            (folder / f"{name}.yaml").write_text(yaml.safe_dump(secret))
        (folder / "bootstrap.yaml").write_text(made.text(made.configuration(plan)))
        self._log = (folder / "log").open("wb")
        arguments = ("-c", str(folder / "bootstrap.yaml"), "--concurrency", "1", "--use-dynamic-base-id")
        self._process = subprocess.Popen(command(*arguments), stdout=self._log, stderr=self._log)
        self.wait_for({name: len(addresses) for name, addresses in self._addresses.items()})
        return self

    def wait_for(self, healthy: Mapping[str, int]) -> None:
        """Returns once so many servers of each service are well; `/clusters` is asked until it says so."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            if {name: self.healthy(name) for name in healthy} == dict(healthy):
                return
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log

    def healthy(self, name: str) -> int:
        """How many servers of a service are well."""
        statuses = self._admin_answer("clusters").get("cluster_statuses", [])
        hosts = [host for each in statuses if each["name"] == name for host in each.get("host_statuses", [])]
        return sum(host["health_status"] == {"eds_health_status": "HEALTHY"} for host in hosts)

    def _admin_answer(self, what: str) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self._admin}/{what}?format=json"
        with suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
            return dict(json.load(answer))
        return {}

    @property
    def log(self) -> str:
        """The end of what Envoy has written."""
        return Path(self._log.name).read_text("utf-8", "replace")[-4000:]

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._log.close()
        self._folder.cleanup()

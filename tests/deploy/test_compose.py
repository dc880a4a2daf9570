"""deploy/compose.yaml: one machine, the same processes, no more rights than they need."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.dockerfile import TARGETS, stage
from tests.deploy.rendering import CHART

DEPLOY = CHART.parent
STORES = ("qdrant", "valkey", "postgresql")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return loaded


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = compose["services"]
    return found


def test_every_target_and_every_store_is_a_service(services: dict[str, Any]) -> None:
    assert set(services) == {*TARGETS, *STORES}
    for target in TARGETS:
        assert services[target]["build"]["target"] == target
        assert (
            DEPLOY / services[target]["build"]["context"] / services[target]["build"]["dockerfile"]
        ).is_file()


def test_services_have_no_rights_and_a_read_only_root(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "/tmp" in service["tmpfs"], name
        assert "privileged" not in service, name


def test_services_have_limits(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert {"cpus", "memory", "pids"} <= set(service["deploy"]["resources"]["limits"]), name


def test_images_are_of_a_release(services: dict[str, Any]) -> None:
    for service in services.values():
        assert re.search(r":(v?\d[\w.-]+|\$\{HEARTH_TAG:-\d[\w.]+\})$", service["image"]), service["image"]


def test_stores_are_those_of_the_chart(services: dict[str, Any]) -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for store in STORES:
        assert services[store]["image"] == values[store]["image"]


def test_only_the_gateway_is_open_and_only_to_this_machine(services: dict[str, Any]) -> None:
    open_ = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert open_ == {"gateway": ["${HEARTH_LISTEN:-127.0.0.1}:${HEARTH_PORT:-8080}:8080"]}


def test_stores_are_reached_by_those_that_use_them(compose: dict[str, Any], services: dict[str, Any]) -> None:
    assert compose["networks"]["stores"] == {"internal": True}
    users = {name for name, service in services.items() if "stores" in service["networks"]}
    assert users == {*STORES, "features", "autosteer", "worker", "gateway"}


def test_addresses_are_those_of_services(services: dict[str, Any]) -> None:
    for service in services.values():
        texts = [*service.get("environment", {}).values(), *service.get("command", [])]
        for text in texts:
            for host, port in re.findall(r"(?:dns:///|http://|redis://)?\b([a-z]+):(\d{4,5})\b", str(text)):
                assert host in services, text
                if host in TARGETS:
                    assert int(port) in stage(host).ports
    database = (DEPLOY / "postgresql.env").read_text()
    assert "@postgresql:5432/" in database


def test_volumes_are_named_and_lie_where_the_images_may_write(
    compose: dict[str, Any], services: dict[str, Any]
) -> None:
    used = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])}
    assert used == set(compose["volumes"])
    writable = stage("gateway").instructions
    made = next(text for name, text in writable if name == "RUN" and "install --directory" in text)
    for target in TARGETS:
        for volume in services[target].get("volumes", []):
            assert volume.split(":")[1] in made


def test_a_stopped_container_outlives_its_drain(services: dict[str, Any]) -> None:
    for name, prefix in (("inference", "HEARTH_INFERENCE"), ("gateway", "HEARTH_GATEWAY")):
        drain = float(services[name]["environment"][f"{prefix}_DRAIN_SECONDS"])
        assert float(services[name]["stop_grace_period"].removesuffix("s")) > drain


def test_stores_say_whether_they_are_ready(services: dict[str, Any]) -> None:
    for store in STORES:
        assert services[store]["healthcheck"]["test"]
    waited = {each for service in services.values() for each in service.get("depends_on", {})}
    assert waited <= {*STORES, "features", "inference"}


def test_files_on_top_change_services_that_exist(services: dict[str, Any]) -> None:
    for path in Path(DEPLOY).glob("compose.*.yaml"):
        assert set(yaml.safe_load(path.read_text())["services"]) <= set(services), path

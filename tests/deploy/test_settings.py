"""What chart, images and compose.yaml set are settings that the processes have, with values that they take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import AliasChoices
from pydantic_settings import BaseSettings

from services.autosteer.settings import AutoSteerSettings
from services.features.settings import FeaturesSettings
from services.gateway.settings import GatewaySettings
from services.inference.settings import InferenceSettings
from services.keys.settings import AccessSettings
from services.rpc.health_port import HealthSettings
from services.rpc.telemetry import TelemetrySettings
from services.rpc.tls import TlsSettings
from tests.deploy.dockerfile import TARGETS, stage
from tests.deploy.rendering import CHART, Pod, Rendered

SHARED: tuple[type[BaseSettings], ...] = (AccessSettings, HealthSettings, TelemetrySettings, TlsSettings)
SETTINGS: dict[str, tuple[type[BaseSettings], ...]] = {
    "inference": (InferenceSettings, *SHARED),
    "features": (FeaturesSettings, *SHARED),
    "autosteer": (AutoSteerSettings, *SHARED),
    "worker": (AutoSteerSettings, *SHARED),
    "gateway": (GatewaySettings, *SHARED),
    "tools": SHARED,
}
NOT_OURS = {
    "HEARTH_CACHE", "HF_HOME", "HF_HUB_OFFLINE", "HF_TOKEN", "HF_HUB_DISABLE_TELEMETRY", "OMP_NUM_THREADS",
    "PGPASSWORD", "VALKEY_PASSWORD", "OTEL_RESOURCE_ATTRIBUTES", "XDG_DATA_HOME", "PATH", "PYTHONPATH", "HOME",
    "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PIP_DISABLE_PIP_VERSION_CHECK", "PIP_NO_CACHE_DIR",
    "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES",
}  # fmt: skip
"""Variables that libraries read, or that others are made of."""


def variables(kinds: tuple[type[BaseSettings], ...]) -> set[str]:
    """All variables that settings read."""
    found = set()
    for kind in kinds:
        for name, field in kind.model_fields.items():
            found.add(f"{kind.model_config['env_prefix']}{name}".upper())
            if isinstance(field.validation_alias, AliasChoices):
                found |= {str(choice) for choice in field.validation_alias.choices}
    return found


def in_order(pod: Pod) -> None:
    """Fails where a variable is made of one that comes later, which Kubernetes would leave as it is."""
    seen: set[str] = set()
    for each in pod.container["env"]:
        for name in ("VALKEY_PASSWORD",):
            if f"$({name})" in each.get("value", ""):
                assert name in seen, each
        seen.add(each["name"])


def test_every_variable_of_the_chart_is_a_setting(rendered: Rendered) -> None:
    for pod in rendered.pods:
        if pod.component in SETTINGS:
            unknown = set(pod.env) - variables(SETTINGS[pod.component]) - NOT_OURS
            assert not unknown, pod.name
            names = [each["name"] for each in pod.container["env"]]
            assert len(names) == len(set(names)), pod.name
            in_order(pod)


def test_the_processes_take_what_the_chart_says(rendered: Rendered, monkeypatch: pytest.MonkeyPatch) -> None:
    for pod in rendered.pods:
        if pod.component in SETTINGS:
            with monkeypatch.context() as environment:
                for name, each in pod.env.items():
                    environment.setenv(name, each.get("value", "4"))  # what is drawn from limits is a number
                for kind in SETTINGS[pod.component]:
                    kind()


def test_models_of_their_own_servers_are_named_to_gateway_and_workers(helm: None) -> None:
    from tests.deploy.rendering import template

    rendered = template(None, CHART / "ci/multi-model-values.yaml")
    for component, name in (("gateway", "HEARTH_GATEWAY"), ("worker", "HEARTH_AUTOSTEER")):
        (pod,) = rendered.component(component)
        by_model: dict[str, Any] = yaml.safe_load(pod.env[f"{name}_INFERENCE_BY_MODEL"]["value"])
        served = {each.env["HEARTH_INFERENCE_MODEL"]["value"] for each in rendered.component("inference")}
        assert set(by_model) == served
        assert len(set(by_model.values())) == len(served)


@pytest.mark.parametrize("target", TARGETS)
def test_every_variable_of_an_image_is_a_setting(target: str) -> None:
    environment = stage(target).environment
    assert not set(environment) - variables(SETTINGS[target]) - NOT_OURS


def test_every_variable_of_compose_is_a_setting() -> None:
    services = yaml.safe_load((Path(CHART).parent / "compose.yaml").read_text())["services"]
    for name, service in services.items():
        if name in SETTINGS:
            assert not set(service.get("environment", {})) - variables(SETTINGS[name]) - NOT_OURS, name

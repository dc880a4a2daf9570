"""Claims about Envoy's configurations: they are those of the schema, and Envoy takes them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.mesh.envoy import ENVOY, configure, validated

IDEMPOTENT, OTHERS = "unavailable", "connect-failure,refused-stream"


@pytest.fixture(scope="module")
def routes() -> dict[str, dict[str, object]]:
    """The route of each method, by path, of the production's configuration."""
    edge = yaml.safe_load((ENVOY / "edge.yaml").read_text("utf-8"))
    chain = edge["static_resources"]["listeners"][0]["filter_chains"][0]
    connections = chain["filters"][0]["typed_config"]
    (host,) = connections["route_config"]["virtual_hosts"]
    return {each["match"]["path"]: each["route"] for each in host["routes"] if "path" in each["match"]}


def test_the_files_are_those_that_the_schema_and_the_service_config_make() -> None:
    for name, make in configure().FILES.items():
        assert (ENVOY / name).read_text("utf-8") == make(), "run make envoy"


@pytest.mark.parametrize("name", ["edge.yaml", "plain.yaml"])
def test_envoy_takes_each_configuration(name: str, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "tls").mkdir()
    for file in (name, *(f"secrets/{each}.yaml" for each in ("edge", "envoy", "authority"))):
        (tmp_path / file).write_text((ENVOY / file).read_text("utf-8").replace("/etc/envoy", str(tmp_path)))
    assert validated(tmp_path / name) == f"configuration '{tmp_path / name}' OK"


def test_streams_have_no_timeout_and_others_their_methods(routes: dict[str, dict[str, object]]) -> None:
    assert routes["/hearth.v1.InferenceService/Generate"]["timeout"] == "0s"
    assert routes["/hearth.v1.AutoSteerService/WatchAutoSteerJob"]["timeout"] == "0s"
    assert routes["/hearth.v1.InferenceService/ListModels"]["timeout"] == "15s"


def test_a_call_that_may_have_begun_is_made_again_only_if_that_changes_nothing(
    routes: dict[str, dict[str, object]],
) -> None:
    policies = {path: route["retry_policy"]["retry_on"] for path, route in routes.items()}  # type: ignore[index]
    assert policies["/hearth.v1.InferenceService/Generate"] == OTHERS
    assert IDEMPOTENT in policies["/hearth.v1.InferenceService/ListModels"]
    assert [path for path, retried in policies.items() if IDEMPOTENT not in retried] == [
        "/hearth.v1.InferenceService/Generate"
    ]

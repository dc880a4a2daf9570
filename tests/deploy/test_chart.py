"""The chart is valid: for helm, for its own schema and for Kubernetes', with any values that it takes."""

from __future__ import annotations

import itertools
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy import rendering
from tests.deploy.rendering import (
    CHART,
    CI,
    NAMES,
    REGISTRY,
    Manifest,
    Rendered,
    merged,
    refusal,
    refused_by_helm,
    template,
)
from tests.deploy.schemas import problems

VERSIONS = ("1.30", "1.37")
"""The oldest Kubernetes that the chart is for, and the newest whose schemas are here."""
NOT_OURS = {"HTTPRoute", "GRPCRoute", "Certificate", "ServiceMonitor"}
"""Kinds of others, whose schemas are not here."""

TLS = {"enabled": True, "certManager": {"enabled": True, "issuerRef": {"name": "mesh"}}}
EXTERNAL: Manifest = {
    "postgresql": {"enabled": False, "external": {"host": "db", "existingSecret": "db"}},
    "valkey": {"enabled": False, "external": {"host": "cache"}},
    "qdrant": {"enabled": False, "external": {"url": "http://vectors:6334"}},
}
PARENT = [{"name": "edge"}]
SWITCHES: list[tuple[Manifest, ...]] = [
    ({}, {"tls": TLS}, {"tls": {"enabled": True, "existingSecret": "mesh", "serverName": "mesh"}}),
    ({}, EXTERNAL, {"storesSecret": "stores"}),
    ({}, {"networkPolicy": {"enabled": False}}, {"networkPolicy": {"metricsFrom": [], "storesTo": []}}),
    ({}, {"metrics": {"enabled": False}}, {"metrics": {"serviceMonitor": {"enabled": True}}}),
    ({}, {"podDisruptionBudget": {"enabled": False}}),
    ({}, {"ingress": {"http": {"enabled": True, "host": "h.example.com"}}}),
    ({}, {"gatewayApi": {"http": {"enabled": True, "parentRefs": PARENT}}}),
    ({}, {"image": {"modelsBaked": True}}, {"image": {"tag": "9", "pullSecrets": [{"name": "pull"}]}}),
    ({}, {"gateway": {"autoscaling": {"enabled": True}}}),
    ({}, {"traces": {"endpoint": "https://collector:4317"}}),
    (
        {},
        {"modelDefaults": {"autoscaling": {"enabled": True}, "cache": {"type": "ephemeral"}}},
        {"modelDefaults": {"cache": {"type": "claim", "existingClaim": "c"}, "saes": [], "maxContext": 512}},
        {"modelDefaults": {"variant": "cuda", "gpu": {"count": 1}, "sharedMemory": "1Gi"}},
    ),
]


def valid(rendered: Rendered) -> None:
    """Fails where Kubernetes would refuse a manifest, or drop a field that it does not know."""
    for manifest in rendered.manifests:
        if manifest["kind"] not in NOT_OURS:
            for version in VERSIONS:
                assert not problems(manifest, version)


@pytest.mark.parametrize("values", CI, ids=NAMES)
def test_helm_finds_nothing_to_blame(values: Path, helm: None) -> None:
    done = rendering.helm("lint", "--strict", str(CHART), "--values", str(values))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_manifest_is_one_that_kubernetes_takes(rendered: Rendered) -> None:
    valid(rendered)


@pytest.mark.parametrize("number", range(3))
def test_any_combination_of_values_is_valid(number: int, helm: None) -> None:
    draw = random.Random(number)
    valid(template(merged(REGISTRY, *(draw.choice(switch) for switch in SWITCHES))))


@pytest.mark.platform
@pytest.mark.parametrize(
    "pair", list(itertools.combinations(range(len(SWITCHES)), 2)), ids=lambda pair: f"{pair[0]}-{pair[1]}"
)
def test_every_pair_of_values_is_valid(pair: tuple[int, int], helm: None) -> None:
    for first, second in itertools.product(*(SWITCHES[number] for number in pair)):
        valid(template(merged(REGISTRY, first, second)))


def test_a_field_that_kubernetes_does_not_know_is_found(helm: None) -> None:
    (deployment, *_) = template(REGISTRY).of("Deployment")
    spec = {**deployment["spec"], "replicas": "one", "livenessProb": {}}
    assert len(problems({**deployment, "spec": spec}, VERSIONS[-1])) == 2


def test_names_are_unique_by_kind(rendered: Rendered) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in rendered.manifests]
    assert len(names) == len(set(names))


def test_manifests_name_no_namespace_of_their_own(rendered: Rendered) -> None:
    assert not [each for each in rendered.manifests if "namespace" in each["metadata"]]


def test_a_second_release_in_a_namespace_shares_nothing_with_the_first(helm: None) -> None:
    first = template(REGISTRY)
    second = template(REGISTRY, release="second")
    names = [{(each["kind"], each["metadata"]["name"]) for each in one.manifests} for one in (first, second)]
    assert not names[0] & names[1]
    for pod in first.pods:
        for workload in second.of("Deployment", "StatefulSet"):
            assert not rendering.selects(workload["spec"]["selector"], pod.labels)


_SPLIT = {"name": "a", "model": "m", "variant": "vllm", "gpu": {"count": 3}, "vllm": {"tensorParallel": 2}}
REFUSED: list[tuple[str, Manifest, str]] = [
    ("an unknown value", {"gatway": {}}, "gatway"),
    ("an unknown value of a model", {"models": [{"name": "a", "model": "m", "gpus": 1}]}, "gpus"),
    ("no registry", {"image": {"registry": ""}}, "image.registry"),
    ("the tag latest", {"image": {"tag": "latest"}}, "tag"),
    ("a store's tag latest", {"qdrant": {"image": "docker.io/qdrant/qdrant:latest"}}, "image"),
    ("no model", {"models": []}, "models"),
    ("two models of a name", {"models": [{"name": "a", "model": "m"}, {"name": "a", "model": "n"}]}, "twice"),
    ("a model twice", {"models": [{"name": "a", "model": "m"}, {"name": "b", "model": "m"}]}, "twice"),
    ("a name that is no label", {"models": [{"name": "A b", "model": "m"}]}, "name"),
    ("GPUs for the image without CUDA", {"modelDefaults": {"gpu": {"count": 1}}}, "variant"),
    ("CUDA without a GPU", {"modelDefaults": {"variant": "cuda"}}, "gpu.count"),
    ("GPUs that do not add up", {"models": [_SPLIT]}, "tensorParallel"),
    (
        "several GPUs for an engine of one",
        {"modelDefaults": {"variant": "cuda", "gpu": {"count": 2}}},
        "vllm",
    ),
    ("a claim without a name", {"modelDefaults": {"cache": {"type": "claim"}}}, "existingClaim"),
    ("no limits", {"gateway": {"resources": {"requests": None}}}, "requests"),
    ("no way to replace a pod", {"modelDefaults": {"rollout": {"maxSurge": 0}}}, "rollout"),
    ("an external database without a host", {"postgresql": {"enabled": False}}, "postgresql.external.host"),
    ("TLS without certificates", {"tls": {"enabled": True}}, "tls."),
    ("gRPC for others without TLS", {"ingress": {"grpc": {"enabled": True, "host": "g"}}}, "tls.enabled"),
    ("a page of any origin", {"gateway": {"corsOrigins": ["*"]}}, "corsOrigins"),
]


@pytest.mark.parametrize(
    ("values", "named"), [each[1:] for each in REFUSED], ids=[each[0] for each in REFUSED]
)
def test_values_that_make_no_sense_are_refused(values: Manifest, named: str, helm: None) -> None:
    assert named in refusal(merged(REGISTRY, values))


def test_helm_asks_the_schema(helm: None) -> None:
    assert "gatway" in refused_by_helm(REGISTRY | {"gatway": {}})


def test_the_schema_has_every_value_and_no_other() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def keys(values: Any, at: Any, path: str) -> None:
        at = schema["$defs"][at["$ref"].rpartition("/")[2]] if "$ref" in at else at
        if not isinstance(values, dict) or "properties" not in at:
            return
        assert at["additionalProperties"] is False, path
        assert set(values) <= set(at["properties"]), path
        missing = set(at["properties"]) - set(values) - {"global"}
        assert not missing or path in ("image.digests",), f"{path} has no default of {missing}"
        for key, value in values.items():
            keys(value, at["properties"][key], f"{path}.{key}".lstrip("."))

    keys(values, schema, "")


def test_the_documentation_has_every_value() -> None:
    text = (CHART / "README.md").read_text()
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert not [key for key in values if f"`{key}" not in text]
    of_models = values["modelDefaults"]
    assert not [key for key in of_models if f"`{key}`" not in text and f"`{key}." not in text]


def test_chart_and_distribution_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = (CHART.parents[1] / "pyproject.toml").read_text()
    (version,) = re.findall(r'^version = "(.+)"$', project, re.MULTILINE)
    assert chart["appVersion"] == version

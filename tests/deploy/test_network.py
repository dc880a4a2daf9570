"""Who reaches whom in the cluster, as the network policies say."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy.rendering import REGISTRY, Manifest, Pod, Rendered, selects, template

CALLS = {
    ("gateway", "inference"), ("gateway", "features"), ("gateway", "autosteer"),
    ("autosteer", "inference"), ("autosteer", "features"),
    ("worker", "inference"), ("worker", "features"),
    ("tools", "inference"), ("tools", "features"),
    ("features", "postgresql"), ("autosteer", "postgresql"), ("worker", "postgresql"), ("gateway", "postgresql"),
    ("autosteer", "valkey"), ("worker", "valkey"), ("features", "qdrant"),
}  # fmt: skip
"""By component: who calls whom."""
WITH_KEYS = {("inference", "postgresql")}
"""With TLS, inference looks up its callers' keys."""
PORTS = {
    "inference": 50051, "features": 50052, "autosteer": 50053, "worker": 50060, "gateway": 8080, "tools": 1,
    "postgresql": 5432, "valkey": 6379, "qdrant": 6334,
}  # fmt: skip


def of(rendered: Rendered, pod: Pod, kind: str) -> list[Manifest] | None:
    """All rules of a kind that hold for a pod; None where nothing restricts it."""
    policies = [
        each["spec"]
        for each in rendered.of("NetworkPolicy")
        if selects(each["spec"]["podSelector"], pod.labels) and kind in each["spec"]["policyTypes"]
    ]
    if not policies:
        return None
    return [rule for policy in policies for rule in policy.get(kind.lower(), [])]


def allows(rules: list[Manifest] | None, peers: str, other: Pod, port: int) -> bool:
    """Whether rules let a pod reach or be reached by another one of this release."""
    if rules is None:
        return True
    for rule in rules:
        if "ports" in rule and port not in [each["port"] for each in rule["ports"]]:
            continue
        if peers not in rule or any(_is(peer, other) for peer in rule[peers]):
            return True
    return False


def _is(peer: Any, pod: Pod) -> bool:
    return set(peer) == {"podSelector"} and selects(peer["podSelector"], pod.labels)


def test_every_pod_is_shut_but_for_what_is_named(rendered: Rendered) -> None:
    for pod in rendered.pods:
        for kind in ("Ingress", "Egress"):
            rules = of(rendered, pod, kind)
            assert rules is not None, f"nothing restricts {pod.name}"
            assert {} not in rules, f"{pod.name} is open"


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "mtls"])
def test_pods_reach_those_that_they_call_and_nobody_else(tls: bool, helm: None) -> None:
    trust = {"enabled": True, "existingSecret": "mesh", "serverName": "mesh"}
    rendered = template(REGISTRY | ({"tls": trust} if tls else {}))
    reached = set()
    for caller in rendered.pods:
        for called in rendered.pods:
            port = PORTS[called.component]
            leaves = allows(of(rendered, caller, "Egress"), "to", called, port)
            enters = allows(of(rendered, called, "Ingress"), "from", caller, port)
            if leaves and enters:
                reached.add((caller.component, called.component))
    assert reached == CALLS | (WITH_KEYS if tls else set())


def test_all_resolve_names(rendered: Rendered) -> None:
    for pod in rendered.pods:
        rules = of(rendered, pod, "Egress") or []
        assert any({"port": 53, "protocol": "UDP"} in rule.get("ports", []) for rule in rules), pod.name


def test_metrics_are_for_the_monitoring_alone(rendered: Rendered) -> None:
    for pod in rendered.pods:
        for rule in of(rendered, pod, "Ingress") or []:
            if 9464 in [port["port"] for port in rule["ports"]]:
                assert rule["from"]
                assert all("namespaceSelector" in peer for peer in rule["from"])


def test_only_what_fetches_reaches_the_internet_and_never_the_metadata_service(rendered: Rendered) -> None:
    for pod in rendered.pods:
        for rule in of(rendered, pod, "Egress") or []:
            for peer in rule.get("to", []):
                if "ipBlock" in peer:
                    assert pod.component in ("inference", "features", "autosteer", "worker"), pod.name
                    assert [port["port"] for port in rule["ports"]] == [443]
                    assert peer["ipBlock"]["except"]


def test_hardened_values_open_nothing_to_the_internet(helm: None) -> None:
    from tests.deploy.rendering import CHART

    rendered = template(None, CHART / "ci/hardened-values.yaml")
    for pod in rendered.pods:
        for rule in of(rendered, pod, "Egress") or []:
            assert rule.get("to"), pod.name
            assert not any("ipBlock" in peer for peer in rule["to"]), pod.name


def test_routes_lead_to_ports_that_services_have(rendered: Rendered) -> None:
    ports = {
        each["metadata"]["name"]: {port["name"]: port["port"] for port in each["spec"]["ports"]}
        for each in rendered.of("Service")
    }
    for route in rendered.of("HTTPRoute", "GRPCRoute"):
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                assert backend["port"] in ports[backend["name"]].values()
    for ingress in rendered.of("Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                assert service["port"]["name"] in ports[service["name"]]

"""What a strict platform team asks of every pod, of budgets, probes and rollouts."""

from __future__ import annotations

import re

import pytest

from tests.deploy.rendering import OURS, REGISTRY, Pod, Rendered, names_of, selects, template

SECONDS_OF_PROBES = 1


def ours(rendered: Rendered) -> list[Pod]:
    """The pods of Hearth's own processes."""
    return [pod for pod in rendered.pods if pod.component in OURS]


def served(rendered: Rendered) -> list[Pod]:
    """Those that run on."""
    return [pod for pod in rendered.pods if pod.owner["kind"] != "Job"]


def test_pods_keep_to_the_restricted_pod_security_standard(rendered: Rendered) -> None:
    for pod in rendered.pods:
        security, own = pod.spec["securityContext"], pod.container["securityContext"]
        assert security["runAsNonRoot"] is True, pod.name
        assert security["runAsUser"] >= 70, pod.name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, pod.name
        assert own["allowPrivilegeEscalation"] is False, pod.name
        assert own["capabilities"] == {"drop": ["ALL"]}, pod.name
        assert not own["privileged"], pod.name
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & set(pod.spec), pod.name
        for volume in pod.spec.get("volumes", []):
            (kind,) = set(volume) - {"name"}
            assert kind in {"emptyDir", "secret", "persistentVolumeClaim", "ephemeral"}, (pod.name, volume)


def test_roots_are_read_only_and_what_is_written_has_a_limit(rendered: Rendered) -> None:
    for pod in rendered.pods:
        assert pod.container["securityContext"]["readOnlyRootFilesystem"] is True, pod.name
        mounts = {mount["name"]: mount["mountPath"] for mount in pod.container["volumeMounts"]}
        assert "/tmp" in mounts.values(), pod.name
        for volume in pod.spec["volumes"]:
            if "emptyDir" in volume:
                assert volume["emptyDir"]["sizeLimit"], (pod.name, volume)
        claims = {each["metadata"]["name"] for each in pod.owner["spec"].get("volumeClaimTemplates", [])}
        assert set(mounts) == {volume["name"] for volume in pod.spec["volumes"]} | claims, pod.name


def test_no_pod_has_a_token_of_kubernetes_or_anothers_account(rendered: Rendered) -> None:
    accounts = {each["metadata"]["name"]: each for each in rendered.of("ServiceAccount")}
    for pod in rendered.pods:
        assert pod.spec["automountServiceAccountToken"] is False, pod.name
        assert accounts[pod.spec["serviceAccountName"]]["automountServiceAccountToken"] is False
        assert pod.spec["serviceAccountName"].endswith(f"-{pod.component}"), pod.name
    assert not rendered.of("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")


def test_no_service_of_the_namespace_becomes_a_variable(rendered: Rendered) -> None:
    # Kubernetes would set HEARTH_GATEWAY_PORT=tcp://10.0.0.1:8080 for a Service hearth-gateway: no port.
    assert all(pod.spec["enableServiceLinks"] is False for pod in rendered.pods)


def test_images_are_of_a_registry_and_a_release(rendered: Rendered) -> None:
    for pod in rendered.pods:
        image = pod.container["image"]
        assert re.fullmatch(r"[^/]+\.[^/]+/.+(:[\w.-]+|@sha256:[0-9a-f]{64})", image), image
        assert not image.endswith(":latest")


def test_containers_have_requests_and_limits(rendered: Rendered) -> None:
    for pod in rendered.pods:
        for kind in ("requests", "limits"):
            assert {"cpu", "memory", "ephemeral-storage"} <= set(pod.container["resources"][kind]), pod.name


def test_processes_have_all_three_probes(rendered: Rendered) -> None:
    for pod in served(rendered):
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            probe = pod.container[kind]
            assert probe["timeoutSeconds"] > SECONDS_OF_PROBES, (
                pod.name,
                kind,
            )  # the default is short for Python
            asked = probe.get("grpc", {}).get("port") or probe.get("httpGet", {}).get("port")
            assert asked is None or asked in pod.ports or asked in pod.ports.values(), (pod.name, kind)
        if pod.component in ("inference", "features", "autosteer", "worker"):
            assert "grpc" in pod.container["readinessProbe"], pod.name


def test_what_a_process_depends_on_does_not_end_it(rendered: Rendered) -> None:
    for pod in ours(rendered):
        probe = pod.container.get("livenessProbe", {})
        if "grpc" in probe:
            assert probe["grpc"]["service"] == "liveness", pod.name
        elif probe:
            assert probe["httpGet"]["path"] == "/healthz"
            assert pod.container["readinessProbe"]["httpGet"]["path"] == "/readyz?of=keys"


def test_a_model_may_take_as_long_to_load_as_its_values_say(rendered: Rendered) -> None:
    for pod in rendered.component("inference"):
        probe = pod.container["startupProbe"]
        assert probe["periodSeconds"] * probe["failureThreshold"] >= 1800
        assert (
            pod.owner["spec"]["progressDeadlineSeconds"] > probe["periodSeconds"] * probe["failureThreshold"]
        )


def test_a_stopped_pod_outlives_its_longest_stream(rendered: Rendered) -> None:
    for name, prefix, longest in (
        ("inference", "HEARTH_INFERENCE", "MAX_CALL_SECONDS"),
        ("features", "HEARTH_FEATURES", "MAX_CALL_SECONDS"),
        ("gateway", "HEARTH_GATEWAY", "MAX_REQUEST_SECONDS"),
    ):
        for pod in rendered.component(name):
            stream = float(pod.env[f"{prefix}_{longest}"]["value"])
            drain = float(pod.env[f"{prefix}_DRAIN_SECONDS"]["value"])
            before = pod.container["lifecycle"]["preStop"]["sleep"]["seconds"]
            leave = float(pod.env.get("HEARTH_LEAVE_SECONDS", {"value": "0"})["value"])
            assert drain > stream, pod.name
            assert pod.spec["terminationGracePeriodSeconds"] > before + leave + drain, pod.name


def test_the_gateway_outlives_the_services_streams(rendered: Rendered) -> None:
    (gateway,) = rendered.component("gateway")
    for pod in rendered.component("inference"):
        assert float(gateway.env["HEARTH_GATEWAY_MAX_REQUEST_SECONDS"]["value"]) > float(
            pod.env["HEARTH_INFERENCE_MAX_CALL_SECONDS"]["value"]
        )


def test_rollouts_never_take_away_the_last_pod(rendered: Rendered) -> None:
    for deployment in rendered.of("Deployment"):
        rollout = deployment["spec"]["strategy"]["rollingUpdate"]
        assert rollout["maxUnavailable"] == 0 or deployment["spec"].get("replicas", 2) != 1


def test_every_deployment_has_a_budget_that_selects_it_alone(rendered: Rendered) -> None:
    pods = [pod for pod in rendered.pods if pod.owner["kind"] == "Deployment"]
    budgets = rendered.of("PodDisruptionBudget")
    assert len(budgets) == len(pods)
    for budget in budgets:
        selected = [pod for pod in rendered.pods if selects(budget["spec"]["selector"], pod.labels)]
        assert len(selected) == 1, budget["metadata"]["name"]
        assert budget["spec"]["maxUnavailable"] >= 1  # else no node could ever be drained


def test_workloads_and_services_select_their_own_pods_alone(rendered: Rendered) -> None:
    for workload in rendered.of("Deployment", "StatefulSet"):
        selected = [pod for pod in rendered.pods if selects(workload["spec"]["selector"], pod.labels)]
        assert [pod.owner for pod in selected] == [workload]
    for service in rendered.of("Service"):
        (pod,) = (
            pod for pod in rendered.pods if selects({"matchLabels": service["spec"]["selector"]}, pod.labels)
        )
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= set(pod.ports)


def test_grpc_is_reached_through_headless_services(rendered: Rendered) -> None:
    for service in rendered.of("Service"):
        if any(port["name"] == "grpc" for port in service["spec"]["ports"]):
            assert service["spec"]["clusterIP"] == "None", service["metadata"]["name"]


def test_processes_call_each_other_by_names_that_exist(rendered: Rendered) -> None:
    services = {
        (each["metadata"]["name"], port["port"])
        for each in rendered.of("Service")
        for port in each["spec"]["ports"]
    }
    called = set()
    for pod in ours(rendered):
        for text in names_of([pod.container.get("env", []), pod.container.get("args", [])]):
            called |= set(re.findall(r"dns:///([\w-]+):(\d+)", text))
            called |= set(re.findall(r"(?:@|http://)([\w-]+):(\d+)", text))
    assert called
    assert {(name, int(port)) for name, port in called} <= services


def test_pods_of_a_process_spread_over_nodes_and_zones(rendered: Rendered) -> None:
    for pod in ours(rendered):
        for spread in pod.spec.get("topologySpreadConstraints", []):
            assert selects(spread["labelSelector"], pod.labels)
        if pod.owner["kind"] == "Deployment":
            keys = {spread["topologyKey"] for spread in pod.spec["topologySpreadConstraints"]}
            assert keys == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}


def test_gpus_are_asked_for_tolerated_and_used(helm: None) -> None:
    model = {"name": "one", "model": "m", "variant": "cuda", "gpu": {"count": 1}}
    many = {"name": "many", "model": "n", "variant": "vllm", "gpu": {"count": 4}}
    pod, other = template(REGISTRY | {"models": [model, many]}).component("inference")
    assert pod.container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert pod.container["image"].endswith("hearth-inference:0.1.0-cuda")
    assert pod.env["HEARTH_INFERENCE_DEVICE"]["value"] == "cuda"
    assert other.container["image"].endswith("hearth-inference:0.1.0-vllm")
    assert other.env["HEARTH_INFERENCE_ENGINE"]["value"] == "vllm"
    assert other.env["HEARTH_INFERENCE_TENSOR_PARALLEL"]["value"] == "4"
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in pod.spec["tolerations"]


def test_autoscaled_deployments_leave_their_number_to_the_autoscaler(rendered: Rendered) -> None:
    for scaler in rendered.of("HorizontalPodAutoscaler"):
        deployment = rendered.named("Deployment", scaler["spec"]["scaleTargetRef"]["name"])
        assert "replicas" not in deployment["spec"]
        assert scaler["spec"]["minReplicas"] <= scaler["spec"]["maxReplicas"]
        down = scaler["spec"]["behavior"]["scaleDown"]
        assert down["stabilizationWindowSeconds"] >= 300
        assert down["policies"][0]["value"] == 1


@pytest.mark.parametrize("release", ["hearth", "a-release-of-a-name-that-is-as-long-as-helm-allows"])
def test_names_fit_into_labels(release: str, helm: None) -> None:
    model = {"name": "a" * 22, "model": "m", "importFeatures": ["/saes/one"]}
    for manifest in template(REGISTRY | {"models": [model]}, release=release).manifests:
        label = manifest["kind"] in (
            "Service",
            "Deployment",
            "StatefulSet",
            "Job",
        )  # becomes one, or a host's name
        assert len(manifest["metadata"]["name"]) <= (63 if label else 253), manifest["metadata"]["name"]
        assert all(len(value) <= 63 for value in manifest["metadata"]["labels"].values())

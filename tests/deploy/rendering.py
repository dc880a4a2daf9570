"""The chart as helm renders it, and what is in it."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema_rs
import yaml

from deploy.helm import helm_path

CHART = Path(__file__).parents[2] / "deploy/chart"
CI = sorted((CHART / "ci").glob("*-values.yaml"))
NAMES = [path.name.removesuffix("-values.yaml") for path in CI]
REGISTRY = {"image": {"registry": "registry.example.com/hearth"}}
OURS = ("inference", "features", "autosteer", "worker", "gateway", "tools")
Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as a Deployment, StatefulSet or Job makes it."""

    owner: Manifest
    template: Manifest

    @property
    def name(self) -> str:
        return f"{self.owner['kind']}/{self.owner['metadata']['name']}"

    @property
    def component(self) -> str:
        return str(self.labels["app.kubernetes.io/component"])

    @property
    def labels(self) -> Mapping[str, str]:
        labels: Mapping[str, str] = self.template["metadata"]["labels"]
        return labels

    @property
    def spec(self) -> Manifest:
        spec: Manifest = self.template["spec"]
        return spec

    @property
    def container(self) -> Manifest:
        """The only one."""
        (container,) = self.spec["containers"]
        assert "initContainers" not in self.spec
        return container  # type: ignore[no-any-return]

    @property
    def env(self) -> dict[str, Manifest]:
        """By name; later ones count, as in Kubernetes."""
        return {each["name"]: each for each in self.container.get("env", [])}

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for port in self.container.get("ports", [])}


@dataclass(frozen=True, slots=True)
class Rendered:
    """All manifests of some values."""

    manifests: tuple[Manifest, ...]

    def of(self, *kinds: str) -> list[Manifest]:
        return [each for each in self.manifests if each["kind"] in kinds]

    def named(self, kind: str, name: str) -> Manifest:
        (found,) = (each for each in self.of(kind) if each["metadata"]["name"] == name)
        return found

    @property
    def pods(self) -> list[Pod]:
        return [Pod(each, each["spec"]["template"]) for each in self.of("Deployment", "StatefulSet", "Job")]

    def component(self, name: str) -> list[Pod]:
        return [pod for pod in self.pods if pod.component == name]


def selects(selector: Manifest, labels: Mapping[str, str]) -> bool:
    """Whether a selector of labels, of which only matchLabels is used here, selects such an object."""
    assert set(selector) <= {"matchLabels"}, selector
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs helm on the chart."""
    program = helm_path()
    assert program is not None
    return subprocess.run([str(program), *arguments], capture_output=True, text=True, check=False)


@functools.cache
def _template(values: str, files: tuple[Path, ...], release: str) -> Rendered:
    options = [word for path in files for word in ("--values", str(path))]
    done = helm("template", release, str(CHART), "--namespace", "research", *options, "--set-json", values)
    assert done.returncode == 0, done.stderr
    return Rendered(tuple(each for each in yaml.load_all(done.stdout, yaml.CSafeLoader) if each))


def template(values: Manifest | None = None, *files: Path, release: str = "hearth") -> Rendered:
    """What `helm template` makes of values; kept, because a run takes a second."""
    return _template(json.dumps(values or {}), files, release)


def merged(*parts: Manifest) -> Manifest:
    """Values, later ones on top."""
    result: Manifest = {}
    for part in parts:
        for key, value in part.items():
            known = result.get(key)
            both = isinstance(value, dict) and isinstance(known, dict)
            result[key] = merged(known, value) if both else value
    return result


def refusal(values: Manifest) -> str:
    """Why values are refused: by the chart's schema, as helm asks it, else by helm."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    all_values = merged(yaml.safe_load((CHART / "values.yaml").read_text()), values)
    errors = jsonschema_rs.validator_for(schema).iter_errors(all_values)
    if wrong := [f"{'.'.join(map(str, each.instance_path))}: {each.message}" for each in errors]:
        return "\n".join(wrong)
    return refused_by_helm(values)


def refused_by_helm(values: Manifest) -> str:
    """What helm says of values that it refuses."""
    done = helm("template", "hearth", str(CHART), "--set-json", json.dumps(values))
    assert done.returncode != 0, "these values were accepted"
    return done.stderr


def names_of(value: Any) -> Iterator[str]:
    """All texts in a manifest."""
    if isinstance(value, dict):
        for each in value.values():
            yield from names_of(each)
    elif isinstance(value, list):
        for each in value:
            yield from names_of(each)
    elif isinstance(value, str):
        yield value

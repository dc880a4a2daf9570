"""Kubernetes' own schemas, strict: a field that it does not know is an error. They come with kubernetes-validate."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import kubernetes_validate

SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"


def problems(manifest: dict[str, Any], version: str) -> list[str]:
    """All that is wrong with a manifest for a version of Kubernetes, such as 1.37."""
    # apps/v1 is apps-v1, networking.k8s.io/v1 is networking-v1.
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", manifest["apiVersion"])
    validator = _validator(f"{manifest['kind'].lower()}-{group}.json", version)
    where = f"{manifest['kind']}/{manifest['metadata']['name']}"
    return [
        f"{where}: {'.'.join(map(str, each.instance_path))}: {each.message}"
        for each in validator.iter_errors(manifest)
    ]


@functools.cache
def _validator(name: str, version: str) -> Any:
    schema = json.loads((_folder(version) / name).read_text())
    return jsonschema_rs.validator_for(schema, registry=_definitions(version))


@functools.cache
def _definitions(version: str) -> Any:
    definitions = json.loads((_folder(version) / "_definitions.json").read_text())
    return jsonschema_rs.Registry([(definitions["$id"], definitions)])


def _folder(version: str) -> Path:
    return SCHEMAS / f"v{version}.0-local-strict"

"""deploy/Dockerfile: what the linter says, and what a strict platform team asks of an image."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deploy.requirements import ROOT, requirements
from tests.deploy.dockerfile import DOCKERFILE, TARGETS, instructions, stage, stages

PORTS = {
    "inference": {50051, 50060},
    "features": {50052, 50060},
    "autosteer": {50053, 50060},
    "worker": {50060},
    "gateway": {8080},
    "tools": set(),
}


def test_the_linter_finds_nothing() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, "--no-color", DOCKERFILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_one_process_as_nobody_in_particular(target: str) -> None:
    image = stage(target)
    assert image.last("USER") == "10001:10001"
    assert image.instructions[-2:][0][0] == "USER"  # nothing is done as this user, or as root behind it
    assert image.entrypoint[:2] == ["python", "-m"]
    assert image.ports == PORTS[target]
    assert "SIGTERM" in image.last("STOPSIGNAL")


@pytest.mark.parametrize("target", [each for each in TARGETS if each != "tools"])
def test_an_image_knows_whether_its_process_serves(target: str) -> None:
    assert stage(target).health_check[:3] == ["python", "-m", "services.rpc.probe"]


@pytest.mark.parametrize("target", TARGETS)
def test_images_are_labelled(target: str) -> None:
    labels = stage(target).last("LABEL")
    for name in ("title", "licenses", "version", "revision", "source"):
        assert f"org.opencontainers.image.{name}=" in labels


def test_no_model_is_baked_in_unless_an_argument_says_so() -> None:
    arguments = dict(text.partition("=")[::2] for name, text in instructions() if name == "ARG")
    assert arguments["BAKE_MODELS"] == "false"
    assert stages()["models"].base == "models-${BAKE_MODELS}"
    empty = [text for name, text in stages()["models-false"].instructions if name == "RUN"]
    assert empty[-1] == "mkdir /models"


def test_only_the_variant_for_gpus_installs_cuda() -> None:
    arguments = dict(text.partition("=")[::2] for name, text in instructions() if name == "ARG")
    assert arguments["VARIANT"] == "cpu"
    for target in ("features", "autosteer", "tools"):
        assert stages()[f"{target}-environment"].base == "cpu-torch"
    assert stages()["inference-environment"].base == "${VARIANT}-inference"
    assert stages()["cpu-inference"].base == "cpu-torch"


def test_the_gateways_image_has_no_torch() -> None:
    names = " ".join(requirements(["gateway", "cli"]))
    assert "torch" not in names
    assert "fastapi" in names
    assert "typer" in names  # hearth keys


def test_the_context_leaves_out_all_but_what_images_are_made_of() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    copied = {"pyproject.toml", "constraints.txt", "README.md", "LICENSE", "services", "protos/gen", "models"}
    assert copied <= {line.removeprefix("!") for line in lines}
    assert not [line for line in lines if ".env" in line and line.startswith("!")]

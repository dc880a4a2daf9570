"""The sae-lens library itself reads what Hearth saves. It lives apart (sae_lens.txt), and runs in its own process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LIBRARY = ROOT / ".venv-sae-lens"
SCRIPT = Path(__file__).with_name("check_with_sae_lens.py")
EMBEDDED = ROOT / "models" / "smollm2-135m-instruct"


@pytest.mark.skipif(not (LIBRARY / "sae_lens").is_dir(), reason="`make test` installs sae-lens")
def test_sae_lens_loads_what_hearth_saves_and_encodes_the_same_numbers() -> None:
    quiet = {"WANDB_MODE": "disabled", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(EMBEDDED)],
        env=os.environ | quiet | {"PYTHONPATH": str(LIBRARY)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if "activations" in line]
    assert len(lines) == 11  # Four architectures that Hearth writes, six files of sae-lens, the embedded SAE.
    assert all(line.endswith("same") for line in lines)
    assert str(EMBEDDED) in lines[-1]

"""The import rules of docs/architecture.md hold, and the contracts that state them can fail."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINT_IMPORTS = Path(sys.executable).parent / "lint-imports"


def lint(directory: Path) -> subprocess.CompletedProcess[str]:
    config = ROOT / "pyproject.toml"
    return subprocess.run(
        [LINT_IMPORTS, "--no-cache", "--config", config], cwd=directory, capture_output=True, text=True
    )


def test_no_module_imports_what_it_may_not() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


VIOLATIONS = {
    "inference/engine.py": "import grpc",
    "inference/hooks/splice.py": "from hearth.v1 import steering_pb2",
    "features/catalogue.py": "import torch",
    "features/servicer.py": "from services.inference import engine",
    "features/wire.py": "from services.cli import app",
    "steering/edits.py": "from services.rpc import channel",
    "rpc/server.py": "from services.inference import engine",
    "errors.py": "from services.steering import edits",
    "gateway/app.py": "import qdrant_client",
    "autosteer/search.py": "import celery",
    "cli/app.py": "import fastapi",
    "inference/scheduler.py": "import prometheus_client",
    "inference/metrics.py": "import opentelemetry",
    "utils/text.py": "",
}


@pytest.mark.parametrize("module", VIOLATIONS)
def test_a_forbidden_import_is_found(module: str, tmp_path: Path) -> None:
    for name in [*VIOLATIONS, "cli/app.py", "inference/engine.py", "rpc/channel.py"]:
        path = tmp_path / "services" / name
        if "utils" in name and name != module:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        for package in [path.parent, *path.parent.parents]:
            if package == tmp_path:
                break
            (package / "__init__.py").touch()
        path.write_text(VIOLATIONS[name] if name == module else "")
    done = lint(tmp_path)
    assert done.returncode != 0, done.stdout
    assert "BROKEN" in done.stdout or "utils" in done.stdout + done.stderr, done.stdout + done.stderr


ALLOWED = {
    "inference/servicer.py": "import grpc\nfrom hearth.v1 import steering_pb2",
    "inference/engine.py": "import torch",
    "features/wire.py": "from hearth.v1 import steering_pb2\nfrom services.steering import edits",
    "steering/wire.py": "from hearth.v1 import steering_pb2",
    "steering/edits.py": "from services import errors",
    "rpc/server.py": "import grpc\nfrom services import errors",
    "autosteer/worker.py": "import celery",
    "features/metrics.py": "import prometheus_client",
    "errors.py": "import enum",
}


def test_what_the_rules_allow_passes(tmp_path: Path) -> None:
    for name, text in ALLOWED.items():
        path = tmp_path / "services" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        (tmp_path / "services" / "__init__.py").touch()
        path.write_text(text)
    done = lint(tmp_path)
    assert done.returncode == 0, done.stdout

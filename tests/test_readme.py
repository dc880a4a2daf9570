"""What the README shows exists: its Python is valid against the stubs, its commands and links lead somewhere."""

import ast
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def make_targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z][a-z-]*):", makefile, flags=re.MULTILINE))


def test_the_snippets_request_can_be_built_with_the_stubs() -> None:
    [snippet] = blocks("python")
    tree = ast.parse(snippet)
    before_the_call = [statement for statement in tree.body if not isinstance(statement, ast.With)]
    assert len(before_the_call) == len(tree.body) - 1
    names: dict[str, object] = {}
    exec(compile(ast.Module(before_the_call, []), "README.md", "exec"), names)
    assert names["request"].steering.edits[0].WhichOneof("operation") == "nudge"


def test_every_make_target_in_the_documents_exists() -> None:
    targets = make_targets()
    assert {"up", "test", "help"} <= targets
    for document in [README, (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")]:
        for code in re.findall(r"`make ([a-z-]+)", document) + re.findall(
            r"^make ([a-z-]+)", document, re.MULTILINE
        ):
            assert code in targets, code


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_every_link_leads_to_a_file(document: str) -> None:
    path = ROOT / document
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert not missing


def test_make_alone_prints_help_that_names_every_documented_target() -> None:
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert all(f"make {target}" in shown for target in make_targets())


def test_continuous_integration_runs_the_readmes_test_command() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text(encoding="utf-8")
    assert any(line.startswith("make test") for line in "".join(blocks("sh")).splitlines())

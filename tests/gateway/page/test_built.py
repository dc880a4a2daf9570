"""The built page belongs to its sources, and building it again gives the same bytes."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

WEB = Path(__file__).parents[3] / "services/gateway/web"
DIST = WEB / "dist"
FILES = (
    "../rest/openapi.json",
    "build.mjs",
    "index.html",
    "package.json",
    "package-lock.json",
    "tsconfig.json",
    "vite.config.ts",
)


def test_the_built_page_is_that_of_these_sources() -> None:
    names = [*FILES, *(name for folder in ("public", "src") for name in names_under(WEB / folder))]
    lines = "".join(f"{name}\n{sha256(WEB / name)}\n" for name in sorted(names))
    digest = hashlib.sha256(lines.encode()).hexdigest()
    assert (DIST / "sources.sha256").read_text().strip() == digest, (
        "run `make page` and commit what it writes"
    )


@pytest.mark.skipif(
    not (WEB / "node_modules").is_dir(), reason="the page's toolchain is not set up (make page)"
)
def test_building_the_page_again_gives_the_same_bytes(tmp_path: Path) -> None:
    node = shutil.which("node")
    assert node is not None
    subprocess.run([node, "build.mjs", str(tmp_path)], cwd=WEB, check=True, capture_output=True)
    assert contents(tmp_path) == contents(DIST)


@pytest.mark.skipif(
    not (WEB / "node_modules").is_dir(), reason="the page's toolchain is not set up (make page)"
)
def test_the_pages_client_is_that_of_the_openapi_document(tmp_path: Path) -> None:
    made = tmp_path / "schema.d.ts"
    command = ["node_modules/.bin/openapi-typescript", "../rest/openapi.json", "--output", str(made)]
    subprocess.run(command, cwd=WEB, check=True, capture_output=True)
    assert made.read_text() == (WEB / "src/api/schema.d.ts").read_text()


def test_the_page_holds_no_inline_script_and_names_no_other_host() -> None:
    index = (DIST / "index.html").read_text()
    assert '<script type="module" crossorigin src="/assets/' in index
    assert index.count("<script") == 1
    assert "style=" not in index
    for path in (DIST / "assets").iterdir():
        text = path.read_text().replace("http://www.w3.org/", "")  # names of XML vocabularies
        assert "://" not in text.replace("://${", "")


def names_under(folder: Path) -> list[str]:
    return [path.relative_to(WEB).as_posix() for path in folder.rglob("*") if path.is_file()]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

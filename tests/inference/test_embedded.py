"""The cache of the embedded model only ever holds whole conversions, and every way to fail says what to do next.

A tiny wheel and a converter that copies it stand in for the real ones.
"""

from __future__ import annotations

import errno
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

from services.fetched.cache import CacheSettings
from services.fetched.errors import CacheUnusable, ConversionFailed, DiskFull, ModelUnavailable
from services.inference import embedded
from services.inference.embedded import (
    EMBEDDED_MODEL_ID,
    MANIFEST,
    ensure_embedded_model,
    is_current,
    resolve_model,
)
from tests.inference.tiny_wheel import TINY, write_tiny_wheel

REAL_CONVERT = embedded._convert


def copying_converter(gguf: Path, out: Path) -> None:
    (out / "config.json").write_text("{}")
    (out / "model.safetensors").write_bytes(gguf.read_bytes())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CacheSettings:
    """An empty cache but for the tiny wheel, already downloaded."""
    settings = CacheSettings.at(tmp_path / "cache")
    write_tiny_wheel(settings.downloads)
    monkeypatch.setattr(embedded, "SOURCE", TINY)
    monkeypatch.setattr(embedded, "_convert", copying_converter)
    return settings


def contents(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_an_empty_cache_is_filled_with_one_whole_conversion(cache: CacheSettings) -> None:
    folder = ensure_embedded_model(cache.root, progress=False)
    assert folder == cache.models / "HuggingFaceTB--SmolLM2-135M-Instruct"
    assert contents(folder) == {"config.json", "model.safetensors", MANIFEST}
    assert (folder / "model.safetensors").read_bytes() == b"tiny weights"
    assert contents(cache.models) - {".lock"} == {folder.name}


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "model.safetensors").write_bytes(b"tiny"),
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / MANIFEST).unlink(),
        lambda folder: (folder / MANIFEST).write_text('{"files": '),
        lambda folder: (folder / MANIFEST).write_text("[]"),
    ],
    ids=["weights cut off", "file missing", "no manifest", "manifest cut off", "manifest of another shape"],
)
def test_a_half_conversion_is_redone(cache: CacheSettings, damage: Any) -> None:
    folder = ensure_embedded_model(cache.root, progress=False)
    damage(folder)
    assert not is_current(folder)
    assert ensure_embedded_model(cache.root, progress=False) == folder
    assert is_current(folder)
    assert (folder / "model.safetensors").read_bytes() == b"tiny weights"


def test_a_conversion_by_an_older_converter_is_redone(
    cache: CacheSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ensure_embedded_model(cache.root, progress=False)
    (folder / "left over").write_text("by the older converter")
    monkeypatch.setattr(embedded, "CONVERTER_VERSION", embedded.CONVERTER_VERSION + 1)
    ensure_embedded_model(cache.root, progress=False)
    assert is_current(folder)
    assert "left over" not in contents(folder)


def test_a_failed_conversion_leaves_nothing_and_says_what_to_do(
    cache: CacheSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(gguf: Path, out: Path) -> None:
        (out / "model.safetensors").write_bytes(gguf.read_bytes())
        raise ConversionFailed("no")

    monkeypatch.setattr(embedded, "_convert", failing)
    with pytest.raises(ConversionFailed):
        ensure_embedded_model(cache.root, progress=False)
    assert contents(cache.models) <= {".lock"}
    assert contents(cache.downloads) == {TINY.wheel}


RUN_WITH_TINY = """
import sys, time
from pathlib import Path
from services.inference import embedded
from tests.inference.tiny_wheel import TINY

def convert(gguf, out):
    with open(sys.argv[2], "a") as log:
        log.write("converting\\n")
    (out / "model.safetensors").write_bytes(gguf.read_bytes())
    time.sleep(float(sys.argv[3]))

embedded.SOURCE, embedded._convert = TINY, convert
print(embedded.ensure_embedded_model(sys.argv[1]))
"""


def start_process(cache: CacheSettings, log: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RUN_WITH_TINY, str(cache.root), str(log), str(seconds)]
    repository = Path(embedded.__file__).parents[2]
    return subprocess.Popen(
        command, cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def test_a_kill_in_the_middle_leaves_nothing_that_looks_whole(cache: CacheSettings, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with start_process(cache, log, seconds=60) as process:
        wait_for(log, process)
        process.send_signal(signal.SIGKILL)
    assert {name for name in contents(cache.models) if not name.startswith(".")} == set()
    folder = ensure_embedded_model(cache.root, progress=False)  # The lock went with the process.
    assert is_current(folder)
    assert contents(cache.models) - {".lock"} == {folder.name}


def test_two_processes_that_start_together_convert_once(cache: CacheSettings, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with start_process(cache, log, seconds=1) as first:
        wait_for(log, first)
        with start_process(cache, log, seconds=1) as second:
            (path, _), (other_path, told) = first.communicate(timeout=30), second.communicate(timeout=30)
    assert path == other_path == f"{cache.models / 'HuggingFaceTB--SmolLM2-135M-Instruct'}\n"
    assert "Another process is preparing the model; waiting for it." in told
    assert log.read_text() == "converting\n"


# --- A full disk ---------------------------------------------------------------------------------------------------


def test_too_little_room_is_told_before_anything_is_fetched(
    cache: CacheSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 10**6))  # type: ignore[attr-defined]
    (cache.downloads / TINY.wheel).unlink()
    with pytest.raises(DiskFull, match=r"has 1 MB free; the embedded model needs \d+ MB .*HEARTH_CACHE"):
        ensure_embedded_model(cache.root, progress=False)
    assert contents(cache.downloads) == set()


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error: No space left on device")],
    ids=["the system's", "safetensors'"],
)
def test_a_disk_that_fills_up_meanwhile_is_told(
    cache: CacheSettings, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def filling(gguf: Path, out: Path) -> None:
        raise error

    monkeypatch.setattr(embedded, "_convert", REAL_CONVERT)
    monkeypatch.setattr("services.inference.embedded_convert.convert_gguf", filling)
    message = f"The disk that holds {cache.root} filled up.*run again: python -m services.inference.embedded"
    with pytest.raises(DiskFull, match=message):
        ensure_embedded_model(cache.root, progress=False)
    assert contents(cache.models) <= {".lock"}


def test_a_converter_that_fails_is_told(cache: CacheSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_convert", REAL_CONVERT)  # Which is given the tiny wheel's twelve bytes.
    with pytest.raises(ConversionFailed, match=r"tiny\.gguf could not be converted"):
        ensure_embedded_model(cache.root, progress=False)


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(CacheUnusable, match=r"cannot be used: .*Choose another with HEARTH_CACHE"):
        ensure_embedded_model(tmp_path / "file", progress=False)


# --- Names ---------------------------------------------------------------------------------------------------------


def test_the_embedded_id_leads_to_the_cache(cache: CacheSettings) -> None:
    assert (
        resolve_model(EMBEDDED_MODEL_ID, cache.root) == cache.models / "HuggingFaceTB--SmolLM2-135M-Instruct"
    )


def test_a_local_checkpoint_leads_to_itself(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert resolve_model(str(tmp_path)) == tmp_path


def test_a_folder_without_config_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"holds no config\.json"):
        resolve_model(str(tmp_path))


@pytest.mark.parametrize("name", ["/no/such/folder", "./neither", "three/part/name", "with space"])
def test_a_name_of_no_folder_and_no_hub_form_is_refused(name: str) -> None:
    with pytest.raises(ModelUnavailable, match="neither a folder nor a hub id"):
        resolve_model(name)


def test_a_hub_that_cannot_be_reached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelUnavailable, match=r"The hub could not be reached for hearth-tests/not-a-model"):
        resolve_model("hearth-tests/not-a-model")


def test_the_cache_root_is_the_argument_then_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HEARTH_CACHE", raising=False)
    assert CacheSettings.at().root == tmp_path / ".cache" / "hearth"
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert CacheSettings.at().root == Path("/xdg/hearth")
    monkeypatch.setenv("HEARTH_CACHE", "~/mine")
    assert CacheSettings.at().root == tmp_path / "mine"
    assert CacheSettings.at("/given").root == Path("/given")

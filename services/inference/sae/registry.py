"""The registry of SAE file formats: a format is one file that says what it detects and how it loads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from services.inference.sae.base import Sae
from services.inference.sae.errors import UnknownSaeFormat


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What the caller knows better than the files; None leaves it to them."""

    id: str | None = None
    """The id to serve the SAE under; else the file's own, or one made of its path."""
    layer: int | None = None
    """The block whose output it reads; needed by formats that do not say, and stronger than those that do."""
    norm_scaling_factor: float | None = None
    """SAELens' `expected_average_only_in`: inputs are multiplied by this before encoding."""


@dataclass(frozen=True, slots=True)
class SaeFormat:
    """One file format."""

    name: str
    detects: Callable[[Path], bool]
    """Whether the path holds this format, by the names of its files alone."""
    load: Callable[[Path, LoadOptions], Sae]
    """Reads it. Raises SaeFormatError, naming file, tensor, expected and found."""


class FormatRegistry:
    """Formats by name."""

    def __init__(self) -> None:
        self._formats: dict[str, SaeFormat] = {}

    @property
    def names(self) -> list[str]:
        """The names of all formats, sorted."""
        return sorted(self._formats)

    def register(self, sae_format: SaeFormat) -> None:
        """Adds a format. Raises ValueError where the name is taken."""
        if sae_format.name in self._formats:
            raise ValueError(
                f"SAE format {sae_format.name!r} is registered already; known: {', '.join(self.names)}"
            )
        self._formats[sae_format.name] = sae_format

    def get(self, name: str) -> SaeFormat:
        """The format of that name. Raises UnknownSaeFormat, listing the choices."""
        if name not in self._formats:
            raise UnknownSaeFormat(f"no SAE format {name!r}", self._formats)
        return self._formats[name]

    def detect(self, path: Path) -> SaeFormat:
        """The format of the files at a path. Raises UnknownSaeFormat where none, or more than one, claims them."""
        if not path.exists():
            raise UnknownSaeFormat(f"{path} does not exist", self._formats)
        found = [sae_format for sae_format in self._formats.values() if sae_format.detects(path)]
        if len(found) > 1:
            claimed = " and ".join(sorted(sae_format.name for sae_format in found))
            raise UnknownSaeFormat(f"{path} could be {claimed}: name the format", self._formats)
        if not found:
            raise UnknownSaeFormat(f"{path} holds no SAE of a known format", self._formats)
        return found[0]

    def load(self, path: str | Path, options: LoadOptions = LoadOptions(), name: str | None = None) -> Sae:
        """The SAE at a path, in the named format or the one detected."""
        path = Path(path)
        return (self.get(name) if name else self.detect(path)).load(path, options)

"""What can go wrong while an SAE is loaded. Every message names the file and what to do or expect."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


class SaeError(RuntimeError):
    """The SAE cannot be served."""


class SaeFormatError(SaeError):
    """A file is not what its format says.

    `tensor` is the tensor or configuration key at fault, empty where the whole file is; `expected` and `found`
    are in words or shapes.
    """

    def __init__(self, file: Path, tensor: str, expected: str, found: str) -> None:
        at = f"{file}: {tensor}" if tensor else str(file)
        super().__init__(f"{at}: expected {expected}, found {found}")
        self.file = file
        self.tensor = tensor
        self.expected = expected
        self.found = found


class UnknownSaeFormat(SaeError):
    """No format of that name, or none that reads the path."""

    def __init__(self, problem: str, choices: Iterable[str]) -> None:
        super().__init__(f"{problem}; known formats: {', '.join(sorted(choices)) or 'none'}")


class SaeMismatch(SaeError):
    """The doctor found that the SAE does not fit the model."""

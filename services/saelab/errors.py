"""What can go wrong while SAEs are made and measured. Every message says what to do next."""

from __future__ import annotations

from pathlib import Path


class SaeLabError(RuntimeError):
    """A step of the SAE lab cannot go on."""


class CorpusError(SaeLabError):
    """The corpus is missing, broken, too small, or a source of it cannot be had."""


class HookPointError(SaeLabError):
    """The model has no block at that hook point."""


class CorruptShard(SaeLabError):
    """A shard of activations is not what was written."""


class BadActivation(SaeLabError):
    """The model gave activations that are not finite numbers."""


class RunMismatch(SaeLabError):
    """A folder holds the work of a run with other settings."""


class TableError(SaeLabError):
    """A table of features or labels is missing, broken, or of another release."""


class LabelFileError(SaeLabError):
    """A file of labels or feature data is not what its format says.

    `line` counts from 1, None where the whole file is at fault; `field` is empty where the whole line is. `unit` says
    what is counted: in a JSON array it is entries.
    """

    def __init__(
        self, file: Path, line: int | None, field: str, expected: str, found: str, unit: str = "line"
    ) -> None:
        place = str(file) if line is None else f"{file}, {unit} {line}"
        super().__init__(f"{place}: {f'{field}: ' if field else ''}expected {expected}, found {found}")
        self.file, self.line, self.field = file, line, field
        self.expected, self.found = expected, found


class ImportRefused(SaeLabError):
    """What is to be imported does not fit together, or the folder is taken."""

"""What can go wrong while the embedded model is fetched and converted. Every message says what to do next."""

from __future__ import annotations

from services.errors import HearthError


class SetupError(HearthError):
    """The model could not be made ready."""


class DiskFull(SetupError):
    """The cache's disk has too little room."""


class CacheUnusable(SetupError):
    """The cache's folder cannot be read or written."""


class IndexUnreachable(SetupError):
    """The configured package index did not answer."""


class DownloadFailed(SetupError):
    """The package index answered, but the wheel did not arrive."""


class ChecksumMismatch(SetupError):
    """A file is not the one that was published."""


class ConversionFailed(SetupError):
    """The GGUF file could not be turned into a transformers checkpoint."""


class ModelUnavailable(SetupError):
    """A model id or path leads to no model."""

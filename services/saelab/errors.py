"""What can go wrong while SAEs are made and measured. Every message says what to do next."""

from __future__ import annotations


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

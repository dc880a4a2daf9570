"""Steering that is saved under a name; see hearth.v1.Variant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.steering.edits import Steering


@dataclass(frozen=True, slots=True)
class VariantDraft:
    """What is saved."""

    name: str
    steering: Steering
    description: str = ""
    model: str = ""
    """Empty if it is for any."""


@dataclass(frozen=True, slots=True)
class SavedVariant:
    """What was saved."""

    id: str
    draft: VariantDraft
    etag: str
    created: datetime
    """UTC."""
    updated: datetime
    """UTC."""
    deleted: datetime | None
    """UTC; None where it is not deleted."""

"""An API key."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime

BEGINNING = "hearth-"
"""How every key begins, so that scanners for secrets find one that was published."""
SHOWN = len(BEGINNING) + 6
"""Characters of a key that are kept and shown, to tell keys apart."""


@dataclass(frozen=True, slots=True)
class Quotas:
    """How much a key may ask for; None: as much as it likes."""

    requests_per_minute: int | None = None
    tokens_per_day: int | None = None
    """Of prompts and answers together, from midnight to midnight UTC."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is kept: without the key."""

    id: str
    prefix: str
    """Its first characters."""
    name: str
    """What it is for, in its owner's words."""
    owner: str
    """On whose behalf calls with it are made."""
    created: datetime
    revoked: datetime | None
    quotas: Quotas


def new_secret() -> str:
    """A key of 256 random bits."""
    return BEGINNING + secrets.token_urlsafe(32)


def digest_of(secret: str) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()

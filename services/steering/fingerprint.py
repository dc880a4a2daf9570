"""A steering's fingerprint: equal for equal steerings, in every process and after a restart."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from enum import Enum
from typing import Any

from services.steering.conditions import AllOf, AnyOf, Comparison, FeatureKey, Not
from services.steering.edits import Abort, Edit, Notify, Scope, Steering

_FIELDS: dict[type, list[str]] = {
    kind: [field.name for field in fields(kind)]
    for kind in (Steering, Edit, FeatureKey, Scope, Abort, Notify, Comparison, AllOf, AnyOf, Not)
}


def fingerprint(steering: Steering) -> str:
    """SHA-256, in hex, over the canonical JSON of a steering.

    Floats count exactly (Python writes the shortest text that reads back as the same number), and 0.0 and -0.0 are one.
    The order of edits counts too: their sum in another order need not be the same to the last bit.
    """
    text = json.dumps(_plain(steering), separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _plain(value: Any) -> object:
    """Lists headed by the class's name, so that an AllOf and an AnyOf of the same conditions differ."""
    if isinstance(value, str | bool) or value is None:
        return value
    if isinstance(value, int | float):
        return float(value) + 0.0
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.name
    return [type(value).__name__, *(_plain(getattr(value, name)) for name in _FIELDS[type(value)])]

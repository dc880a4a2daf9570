"""What tells that a request repeats an earlier one: its id, and a digest of what it asks for."""

from __future__ import annotations

import hashlib
import json

from services.errors import AlreadyExists


def content_digest(*asked: object) -> bytes:
    """SHA-256 over what a request asks for: anything that JSON can write, and bytes."""
    text = json.dumps(asked, ensure_ascii=True, sort_keys=True, separators=(",", ":"), default=bytes.hex)
    return hashlib.sha256(text.encode("ascii")).digest()


def check_repeated(request_id: str, before: bytes | None, now: bytes) -> None:
    """Raises AlreadyExists where a request's id is that of one that asked for something else."""
    if before != now:
        raise AlreadyExists(
            f"request_id {request_id} was that of another request; take a new one", field="request_id"
        )

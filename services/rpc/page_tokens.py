"""Page tokens: opaque to callers, good for the list alone that they were made for."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import TypeVar

from services.errors import InvalidField

_Position = TypeVar("_Position", int, str)
_DIGEST_CHARACTERS = 12


def page_token(listing: object, position: int | str) -> str:
    """The token of what follows in a list; `listing` says which list, by its repr."""
    return base64.urlsafe_b64encode(json.dumps([_digest(listing), position]).encode()).decode()


def position_of(token: str, listing: object, first: _Position) -> _Position:
    """Where the list goes on; `first` without a token. Raises InvalidField where the token is of another list."""
    if not token:
        return first
    try:
        digest, position = json.loads(base64.urlsafe_b64decode(token.encode("ascii")))
    except (UnicodeEncodeError, binascii.Error, ValueError, TypeError, RecursionError):
        digest, position = "", None
    if digest != _digest(listing) or type(position) is not type(first):
        raise InvalidField(
            "page_token", "no answer to this request gave it; allowed: the next_page_token of the last one"
        )
    return position


def _digest(listing: object) -> str:
    return hashlib.sha256(repr(listing).encode()).hexdigest()[:_DIGEST_CHARACTERS]

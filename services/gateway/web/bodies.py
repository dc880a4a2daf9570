"""What the page is told before it has a key."""

from __future__ import annotations

from pydantic import BaseModel


class SessionBody(BaseModel):
    """Where the page stands."""

    key: str | None
    """The key to use, which is `dev`, where the gateway listens on this machine alone and the page is opened from it;
    none where someone must give one."""

"""Answers as proto3 JSON. What has no presence is always written: a client need not know what its absence means."""

from __future__ import annotations

import asyncio
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

_LARGE = 16 << 10
"""Bytes of a message from which writing it takes so long that it is done off the event loop."""


async def written(message: Message) -> dict[str, Any]:
    """A message as JSON holds it."""
    if message.ByteSize() < _LARGE:
        return _written(message)
    return await asyncio.to_thread(_written, message)


def _written(message: Message) -> dict[str, Any]:
    return MessageToDict(message, always_print_fields_with_no_presence=True)

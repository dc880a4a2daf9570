"""Text of a growing answer: whole characters only, and nothing that may still become a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextStream:
    """Turns tokens' bytes into text that may be shown.

    A character that is not complete yet, and text that may still turn out to begin a stop string, are held back.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._stops = tuple(stops)
        self._held = ""
        self.stopped: str | None = None
        """The stop string that came."""

    def push(self, piece: bytes) -> str:
        """Text that may be shown after one more token; sets `stopped` where a stop string came."""
        self._held += self._decoder.decode(piece)
        return self._release()

    def finish(self) -> str:
        """What is still held back when the answer ends by itself."""
        self._held += self._decoder.decode(b"", final=True)
        text = self._release()
        if self.stopped is None:
            text, self._held = text + self._held, ""
        return text

    def _release(self) -> str:
        found = [(self._held.find(s), s) for s in self._stops if s in self._held]
        if found:
            place, self.stopped = min(found, key=lambda f: (f[0], -len(f[1])))
            text, self._held = self._held[:place], ""
            return text
        keep = max((_overlap(self._held, s) for s in self._stops), default=0)
        cut = len(self._held) - keep
        text, self._held = self._held[:cut], self._held[cut:]
        return text


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)

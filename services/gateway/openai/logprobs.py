"""Log probabilities in the two shapes that OpenAI has for them."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any

from services.gateway.openai.pieces import Candidate, Drawn

_LEAST = -9999.0
"""Stands for minus infinity, which JSON cannot say."""


def of_chat(drawn: Sequence[Drawn]) -> dict[str, Any]:
    """As chat completions have them."""
    content = [
        {**_with_bytes(each.token), "top_logprobs": [_with_bytes(other) for other in each.top]}
        for each in drawn
    ]
    return {"content": content, "refusal": None}


class Offsets:
    """Where each token of a text begins, in characters."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._characters = 0

    def of(self, drawn: Sequence[Drawn]) -> list[int]:
        """The places of the next tokens."""
        places = []
        for each in drawn:
            places.append(self._characters)
            self._characters += len(self._decoder.decode(each.token.piece))
        return places


def of_text(drawn: Sequence[Drawn], offsets: Offsets) -> dict[str, Any]:
    """As text completions have them."""
    return {
        "tokens": [token_text(each.token.piece) for each in drawn],
        "token_logprobs": [_finite(each.token.logprob) for each in drawn],
        "top_logprobs": [
            {token_text(other.piece): _finite(other.logprob) for other in each.top} for each in drawn
        ],
        "text_offset": offsets.of(drawn),
    }


def token_text(piece: bytes) -> str:
    """A token as text; one that is no whole UTF-8 as OpenAI writes it: bytes:\\xe2\\x80."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)


def _with_bytes(token: Candidate) -> dict[str, Any]:
    return {
        "token": token_text(token.piece),
        "logprob": _finite(token.logprob),
        "bytes": list(token.piece),
    }


def _finite(logprob: float) -> float:
    return logprob if logprob > _LEAST else _LEAST

"""What the command line asks: prompts and requests as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from services.steering.edits import Steering

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat."""

    role: Role
    content: str


Prompt = str | tuple[Message, ...]
"""Plain text, or a chat."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn; None leaves it to the server."""

    seed: int | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Generation:
    """Asks for text."""

    prompt: Prompt
    steering: Steering
    sampling: Sampling
    report: bool = False
    receipt: bool = False


@dataclass(frozen=True, slots=True)
class FeatureName:
    """Names a feature of the catalogue: by SAE and index, or by its UUID where that is set."""

    sae: str
    index: int
    id: str = ""

    def __str__(self) -> str:
        return self.id or str(self.index)

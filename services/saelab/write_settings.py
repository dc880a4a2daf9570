"""What `hearth sae write` is told, and what it tells while it writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from services.inference.embedded import EMBEDDED_MODEL_ID
from services.saelab.write_prompts import PROMPTS


@dataclass(frozen=True, slots=True)
class WriteSettings:
    """What is written."""

    out: Path
    """File of the documents; beside it lie the journal of all answers and the drafts of those not done."""
    model: str = EMBEDDED_MODEL_ID
    """Hub id, or folder of a Hugging Face checkpoint with a chat template."""
    tokens: int = 150_000
    """Tokens that the model writes in the documents that are kept; more goes on with the same run."""
    seed: int = 0
    temperature: float = 1.0
    top_p: float = 0.9
    """Mass of the most likely tokens that are drawn from: with all of them, a small model drifts into word salad."""
    prompts: Path = PROMPTS
    """The table of prompts."""
    rows: int = 16
    """Documents written side by side."""
    device: str = "cpu"
    """cpu or cuda."""
    threads: int = 1
    """CPU threads."""

    @property
    def journal(self) -> Path:
        """The file of all answers."""
        return self.out.with_suffix(".journal.jsonl")

    @property
    def drafts(self) -> Path:
        """The file of the answers that are being written."""
        return self.out.with_suffix(".drafts.json")


@dataclass(frozen=True, slots=True)
class Status:
    """How far the writing is."""

    tokens: int
    """Tokens kept."""
    documents: int
    left_out: int
    """Documents that were unfit."""
    tokens_per_second: float
    """Of this session, with those that were left out."""


Progress = Callable[[Status], None]

"""Labels from elsewhere, in the one form that every format is read into."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from services.inference.sae.base import Sae
from services.saelab.errors import ImportRefused
from services.saelab.label_table import LONGEST, Label, shortened


@dataclass(frozen=True, slots=True)
class Target:
    """The SAE that labels are imported for, as far as a label file can contradict it."""

    features: int
    layer: int
    hook_point: str
    weights_digests: tuple[str, ...]
    """Of the weights as they were found and as they are written: labels may name either."""
    neuronpedia_id: str = ""
    """`model/source`, where the SAE's own files name it."""
    allow_mismatch: bool = False

    @classmethod
    def of(cls, sae: Sae, digests: Iterable[str], *, allow_mismatch: bool) -> Target:
        """The target that an SAE is."""
        named = sae.card.get("neuronpedia_id")
        return cls(
            features=sae.weights.d_sae,
            layer=sae.layer,
            hook_point=sae.hook_point,
            weights_digests=tuple(digests),
            neuronpedia_id=named if isinstance(named, str) else "",
            allow_mismatch=allow_mismatch,
        )

    def mismatch(self, problem: str) -> str:
        """The problem as a note where mismatches are allowed. Raises ImportRefused where they are not."""
        if not self.allow_mismatch:
            raise ImportRefused(f"{problem}. If you know that they belong together, pass --allow-mismatch")
        return f"{problem} (allowed)"


def label_of(
    index: int,
    text: str,
    *,
    source: str,
    description: str = "",
    score: float | None = None,
    fuzzing: float | None = None,
    evidence: str = "",
) -> Label:
    """A label from a text of any length; where it is cut, the whole is the description."""
    label = shortened(text, LONGEST)
    return Label(index, label, description or text, source, score=score, fuzzing=fuzzing, evidence=evidence)


@dataclass(frozen=True, slots=True)
class LabelSet:
    """The labels of one file or folder."""

    format: str
    path: Path
    labels: tuple[Label, ...]
    """At most one for each feature, in order of index."""
    notes: tuple[str, ...] = field(default=())
    """What was left out or allowed, in sentences."""


def merged(sets: Iterable[LabelSet]) -> tuple[list[Label], list[str]]:
    """One label for each feature, the first set's where several have one, in order of index; and notes on the rest."""
    chosen: dict[int, Label] = {}
    notes = []
    for each in sets:
        fresh = {label.index: label for label in each.labels if label.index not in chosen}
        if passed := len(each.labels) - len(fresh):
            notes.append(f"{passed:,} labels of {each.path} give way to those of files named before it.")
        chosen |= fresh
    return [chosen[index] for index in sorted(chosen)], notes

"""labels.parquet: what each feature of an SAE is called, by whom, and how well the name was tested. One row a feature.

Written by whatever makes labels (`hearth sae label`, an import) and completed by `hearth sae score`. The schema is
SCHEMA. Nothing here needs torch, so that a catalogue can import the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa

from services.saelab.parquet_table import batches, stored_info, writing

LABELS = "labels.parquet"
VERSION = 1
"""Of the schema; raised when a reader of the older one would misread the newer."""
LONGEST = 80
"""Characters of a label, at most."""
UNLABELLED = "unlabelled: "
"""Begins a label that was tested and did not beat the labels of other features, or that was never found."""
NO_SOURCE = "none"
"""Source of what stands where no explainer found a label."""


@dataclass(frozen=True, slots=True)
class Label:
    """What a feature is called."""

    index: int
    """Of the feature."""
    label: str
    """A readable phrase of at most LONGEST characters; with the prefix UNLABELLED where the test refuted it."""
    description: str
    """A sentence or two: what the label was made from."""
    source: str
    """Who made it: `offline`, `model:<id>`, `openai:<model>`, `neuronpedia`, `delphi` ..."""
    score: float | None = None
    """Detection: AUROC of telling held-out contexts in which the feature is active from such in which it is not, by
    the label alone. Half is chance. None where not tested, or too rare to be."""
    fuzzing: float | None = None
    """AUROC of telling contexts with the active tokens marked from the same with other tokens marked."""
    null: float | None = None
    """95th percentile of the detection scores that labels of other features have on this one's contexts."""
    p_value: float | None = None
    """Share of such labels that detect at least as well (their own number included, so never 0)."""
    confidence: float | None = None
    """What the explainer itself thinks of the label, 0 to 1; None where it says nothing."""
    evidence: str = ""
    """What the score rests on: judge, contexts, and so on."""
    created: datetime = datetime(1970, 1, 1, tzinfo=UTC)

    @property
    def is_labelled(self) -> bool:
        """Whether there is a label that no test has refuted."""
        return bool(self.label) and not self.label.startswith(UNLABELLED)

    @property
    def is_explained(self) -> bool:
        """Whether an explainer found a label, whatever the test says of it."""
        return bool(self.candidate) and self.source != NO_SOURCE

    @property
    def candidate(self) -> str:
        """The label as the explainer gave it, whatever the test said."""
        return self.label.removeprefix(UNLABELLED)

    def tested(self, beats_null: bool) -> Label:
        """The same label with or without the prefix; cut to LONGEST characters."""
        prefix = "" if beats_null else UNLABELLED
        return replace(self, label=prefix + shortened(self.candidate, LONGEST - len(prefix)))


def shortened(text: str, length: int) -> str:
    """The text on one line in at most so many characters; what is cut off ends with an ellipsis, between words."""
    text = " ".join(text.split())
    if len(text) <= length:
        return text
    cut = text[: length - 1].rpartition(" ")[0] or text[: length - 1]
    return cut.rstrip(" ,;:–-") + "…"


@dataclass(frozen=True, slots=True)
class LabelTableInfo:
    """Which SAE the labels are about, and how they were made and tested."""

    sae_id: str
    weights_digest: str
    features: int
    """Number of rows."""
    hearth_version: str
    settings: dict[str, Any]
    """How each step was run, and what it found over all features."""


_NULLABLE = frozenset({"score", "fuzzing", "null", "p_value", "confidence"})
_TYPES = {
    "index": pa.uint32(),
    "label": pa.string(),
    "description": pa.string(),
    "source": pa.string(),
    "score": pa.float32(),
    "fuzzing": pa.float32(),
    "null": pa.float32(),
    "p_value": pa.float32(),
    "confidence": pa.float32(),
    "evidence": pa.string(),
    "created": pa.timestamp("ms", tz="UTC"),
}
SCHEMA = pa.schema([pa.field(name, kind, nullable=name in _NULLABLE) for name, kind in _TYPES.items()])
"""Columns are named as the fields of Label."""


class LabelTable:
    """A labels.parquet on disk, opened."""

    def __init__(self, path: Path, info: LabelTableInfo) -> None:
        self.path, self.info = path, info

    def __len__(self) -> int:
        """Number of rows."""
        return self.info.features

    def __iter__(self) -> Iterator[Label]:
        """The labels in order of features, a batch in memory at a time. Raises TableError where it is broken."""
        for part in batches(self.path, 1024):
            yield from (Label(**values) for values in part)


def read(folder: Path) -> LabelTable:
    """Opens the labels of an SAE's folder. Raises TableError where there are none, or they cannot be read."""
    path = folder / LABELS
    return LabelTable(path, LabelTableInfo(**stored_info(path, SCHEMA, VERSION, "hearth sae label")))


def write(folder: Path, info: LabelTableInfo, labels: Iterable[Label]) -> Path:
    """Writes the labels of an SAE's folder; the file is whole or not there.

    Raises ValueError where they are not those of info.features features in order, each within LONGEST characters;
    TableError where the disk is full.
    """
    rows = list(labels)
    if len(rows) != info.features or any(a.index >= b.index for a, b in pairwise(rows)):
        raise ValueError(f"{len(rows)} labels, out of order or not of {info.features} features")
    if wrong := next((row for row in rows if len(row.label) > LONGEST), None):
        raise ValueError(f"the label of feature {wrong.index} is longer than {LONGEST} characters")
    path = folder / LABELS
    with writing(path, SCHEMA, VERSION, asdict(info)) as writer:
        writer.write_table(pa.Table.from_pylist([asdict(row) for row in rows], schema=writer.schema))
    return path

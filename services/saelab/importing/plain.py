"""Plain label files: .csv, .tsv, .jsonl or .json (an array), gzipped or not, one feature a line.

`index` and `label` are needed; `description`, `source`, `score`, `fuzzing` (both 0 to 1) and `evidence` are taken over;
`weights_digest` and `hook_point`, where a line has them, must be those of the SAE. Anything else is ignored, and said.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from services.inference.sae.hook_names import layer_of
from services.saelab.errors import LabelFileError
from services.saelab.importing.labels import LabelSet, Target, label_of
from services.saelab.importing.rows import Row, csv_rows, json_rows
from services.saelab.label_table import Label

TABLES = (".csv", ".tsv")
OBJECTS = (".jsonl", ".json")
NEEDED = ("index", "label")
TAKEN = (*NEEDED, "description", "source", "score", "fuzzing", "evidence", "weights_digest", "hook_point")


def ending(path: Path) -> str:
    """The file's ending without .gz."""
    return Path(path.name.removesuffix(".gz")).suffix


def detects(path: Path) -> bool:
    """Whether it is a file with one of the endings."""
    return path.is_file() and ending(path) in (*TABLES, *OBJECTS)


def read(path: Path, target: Target) -> LabelSet:
    """The labels of a plain file. Raises LabelFileError, ImportRefused."""
    labels: dict[int, Label] = {}
    places: dict[int, str] = {}
    ignored: dict[str, None] = {}
    notes: dict[str, None] = {}
    for row in _rows(path):
        index = row.feature("index", target.features)
        if index in labels:
            raise row.wrong("index", f"one line for each feature ({index} stands at {places[index]} already)")
        notes |= dict.fromkeys(_contradictions(row, target))
        ignored |= dict.fromkeys(name for name in row.values if name not in TAKEN)
        places[index] = row.place
        labels[index] = label_of(
            index,
            row.text("label"),
            description=row.optional_text("description"),
            source=row.optional_text("source") or f"file:{path.name}",
            score=row.optional_number("score", 0.0, 1.0),
            fuzzing=row.optional_number("fuzzing", 0.0, 1.0),
            evidence=row.optional_text("evidence"),
        )
    if not labels:
        raise LabelFileError(path, None, "", "at least one label", "none")
    if ignored:
        notes[f"Ignored columns of {path.name}: {', '.join(ignored)}."] = None
    return LabelSet("plain", path, tuple(labels[index] for index in sorted(labels)), tuple(notes))


def _rows(path: Path) -> Iterator[Row]:
    if ending(path) not in TABLES:
        yield from json_rows(path)
        return
    for row in csv_rows(path):
        if missing := [name for name in NEEDED if name not in row.values]:
            raise LabelFileError(path, 1, missing[0], f"a column {missing[0]}", ", ".join(row.values))
        yield row


def _contradictions(row: Row, target: Target) -> Iterator[str]:
    digest = row.optional_text("weights_digest")
    if digest and digest not in target.weights_digests:
        yield target.mismatch(
            f"{row.place}: weights_digest: the labels are for weights {digest[:12]}…, the SAE's are "
            f"{target.weights_digests[0][:12]}…"
        )
    hook = row.optional_text("hook_point")
    if hook and layer_of(hook) != target.layer:
        yield target.mismatch(
            f"{row.place}: hook_point: the labels are for {hook}, the SAE reads {target.hook_point}"
        )

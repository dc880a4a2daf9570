"""The statistics and examples of a Neuronpedia export, read, tried on the SAE, and ready for features.parquet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.inference.examination import ExaminingRoom
from services.inference.sae.base import Sae
from services.inference.sae.doctor import Check, Status
from services.saelab.errors import LabelFileError
from services.saelab.importing.imported_features import ImportedFeatures
from services.saelab.importing.labels import Target
from services.saelab.importing.neuronpedia import Export, Source, find
from services.saelab.importing.neuronpedia_features import read_examples, read_features
from services.saelab.importing.replay import replay
from services.saelab.importing.rows import json_rows
from services.saelab.importing.token_names import TokenNames

LOST_TOKENS = 0.5
"""Share of promoted and suppressed tokens that the model's vocabulary may lack."""


@dataclass(frozen=True, slots=True)
class ExportData:
    """What an export says of the features."""

    features: ImportedFeatures
    check: Check | None
    """Whether its examples fire here; None where it has none."""
    origin: dict[str, Any]
    """Where it comes from, and on what texts it was measured."""
    reference_tokens: int
    """Tokens of these texts; 0 where the export does not say."""
    notes: tuple[str, ...]


def find_export(paths: tuple[Path, ...]) -> Export | None:
    """The export with features or activations among some label paths. Raises LabelFileError where there are several."""
    found = [export for path in paths if (export := find(path)) and (export.features or export.activations)]
    if len(found) > 1:
        raise LabelFileError(found[1].path, None, "", "one export with features", f"{found[0].path} as well")
    return found[0] if found else None


def read_export(
    export: Export,
    sae: Sae,
    target: Target,
    room: ExaminingRoom,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> ExportData:
    """Reads it all, a file at a time; `progress` counts files. Raises LabelFileError, ImportRefused."""
    source = Source(target)
    features = read_features(
        export.features, target, source, lambda done, total: progress("features", done, total)
    )
    examples = read_examples(
        export.activations, target, source, lambda done, total: progress("activations", done, total)
    )
    names = TokenNames(room.tokenizer)
    replayed = replay(examples.whole, sae, room, names) if export.activations else None
    if replayed and replayed.check.status is Status.FAIL:
        target.mismatch(replayed.check.message.rstrip("."))
    factor = replayed.factor if replayed else 1.0
    imported = ImportedFeatures(sae.weights.d_sae, features, examples, names, factor)
    origin, tokens = _origin(export)
    return ExportData(
        imported,
        replayed.check if replayed else None,
        {"format": "neuronpedia", "source": source.name, **origin},
        tokens,
        (*source.notes, *_notes(imported, target)),
    )


def _notes(imported: ImportedFeatures, target: Target) -> list[str]:
    notes = []
    known = len(imported.features.keys() | imported.examples.kept.keys())
    if known < imported.count:
        notes.append(
            f"The export has {known:,} of the SAE's {imported.count:,} features; the others' rows are empty."
        )
    if undensed := sum(feature.density is None for feature in imported.features.values()):
        notes.append(f"{undensed:,} features have no density in the export: 0 is written.")
    lost, tokens = imported.unknown_tokens
    if lost:
        problem = f"{lost:,} of {tokens:,} promoted and suppressed tokens are not in the model's vocabulary"
        notes.append(
            target.mismatch(f"{problem}: the export is of another model")
            if lost > LOST_TOKENS * tokens
            else f"{problem}: left out."
        )
    return notes


def _origin(export: Export) -> tuple[dict[str, Any], int]:
    """What source.jsonl, beside the export's folders, says of the texts; and how many tokens they have."""
    file = export.path / "source.jsonl"
    if not file.is_file():
        return {}, 0
    row = next(iter(json_rows(file)), None)
    if row is None:
        return {}, 0
    named = {
        ours: value
        for theirs, ours in (("dataset", "dataset"), ("hfRepoId", "repository"), ("hfFolderId", "folder"))
        if isinstance(value := row.values.get(theirs), str) and value
    }
    prompts, length = (
        int(row.optional_number(name, 0) or 0) for name in ("num_prompts", "num_tokens_in_prompt")
    )
    return named, prompts * length

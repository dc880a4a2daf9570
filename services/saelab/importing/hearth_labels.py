"""labels.parquet of an SAE's folder, which names the weights that it is for."""

from __future__ import annotations

from pathlib import Path

from services.saelab import label_table
from services.saelab.errors import LabelFileError
from services.saelab.importing.labels import LabelSet, Target
from services.saelab.label_table import LABELS


def detects(path: Path) -> bool:
    """Whether it is a labels.parquet, or a folder that holds one."""
    return path.name == LABELS if path.is_file() else (path / LABELS).is_file()


def read(path: Path, target: Target) -> LabelSet:
    """The labels, scores and all. Raises TableError, LabelFileError, ImportRefused where they are for other weights."""
    table = label_table.read(path.parent if path.is_file() else path)
    digest, notes = table.info.weights_digest, []
    if digest not in target.weights_digests:
        problem = (
            f"{table.path} is for SAE {table.info.sae_id}, weights {digest[:12]}…, not for "
            f"{target.weights_digests[0][:12]}…"
        )
        notes.append(target.mismatch(problem))
    labels = tuple(table)
    if labels and labels[-1].index >= target.features:
        allowed = f"features of this SAE, 0 to {target.features - 1}"
        raise LabelFileError(table.path, None, "index", allowed, str(labels[-1].index))
    return LabelSet("hearth", path, labels, tuple(notes))

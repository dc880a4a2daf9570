"""All label formats that Hearth imports. A new one is a new file here and one entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from services.saelab.errors import LabelFileError
from services.saelab.importing import delphi, hearth_labels, neuronpedia, plain
from services.saelab.importing.labels import LabelSet, Target


@dataclass(frozen=True, slots=True)
class LabelFormat:
    """One format of label files."""

    name: str
    what: str
    """What it is, for people who named something else."""
    detects: Callable[[Path], bool]
    """Whether the path holds it; the first format that says so reads it."""
    read: Callable[[Path, Target], LabelSet]
    """Reads it. Raises LabelFileError, which names file, line and field, or ImportRefused."""


LABEL_FORMATS = (
    LabelFormat("hearth", "a labels.parquet of Hearth's", hearth_labels.detects, hearth_labels.read),
    LabelFormat(
        "neuronpedia",
        "a Neuronpedia export (a folder with explanations/, features/ or activations/, or a file of explanations)",
        neuronpedia.detects,
        neuronpedia.read,
    ),
    LabelFormat("delphi", "a delphi run (explanations/<hook>_latent<N>.txt)", delphi.detects, delphi.read),
    LabelFormat(
        "plain", "a .csv, .tsv, .jsonl or .json file with index and label", plain.detects, plain.read
    ),
)


def label_format(path: Path) -> LabelFormat:
    """The format of a file or folder of labels. Raises LabelFileError, listing the choices."""
    if not path.exists():
        raise LabelFileError(path, None, "", "a file or folder of labels", "no such file")
    for each in LABEL_FORMATS:
        if each.detects(path):
            return each
    choices = "; ".join(each.what for each in LABEL_FORMATS)
    raise LabelFileError(path, None, "", choices, "something else")

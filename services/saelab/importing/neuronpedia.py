"""Neuronpedia's bulk exports: <model>/<source>/{explanations,features,activations}/batch-N.jsonl.gz.

A line of explanations has `modelId`, `layer` (the source's id, such as `20-gemmascope-res-16k`), `index` (in digits),
`description`, `typeName` (the way of explaining) and `explanationModelName`. A feature may have several explanations:
the one by the explainer that explains most features of the export is taken, so that labels are alike. The JSON array
that the site's API returned has the same fields. Features and activations: neuronpedia_features.py.

Source: github.com/hijohnnylin/neuronpedia, utils/neuronpedia-utils/neuronpedia_utils/export-data.py and db_models/;
the files are in the public bucket neuronpedia-datasets under v1/.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from services.inference.sae.hook_names import layer_of
from services.saelab.errors import LabelFileError
from services.saelab.importing.labels import LabelSet, Target, label_of
from services.saelab.importing.plain import OBJECTS, ending
from services.saelab.importing.rows import Row, json_rows

KINDS = ("explanations", "features", "activations")
_OTHER_SITE = re.compile(r"-(mlp|att|attn|transcoder|tc|clt|plt|hook_z)(-|$|_)")
_BATCH = re.compile(r"batch-(\d+)\.")


@dataclass(frozen=True, slots=True)
class Export:
    """The files of one source, in order of their batches."""

    path: Path
    explanations: tuple[Path, ...] = ()
    features: tuple[Path, ...] = ()
    activations: tuple[Path, ...] = ()


def find(path: Path) -> Export | None:
    """The export at a path: the source's folder, one of its three folders, or one file of explanations."""
    if path.is_file():
        return Export(path, explanations=(path,)) if _is_rows(path) and _is_explanation(path) else None
    if path.name in KINDS and _batches(path):
        return Export(path, **{path.name: _batches(path)})
    found = {kind: _batches(path / kind) for kind in KINDS}
    return Export(path, **found) if any(found.values()) else None


def detects(path: Path) -> bool:
    """Whether the path is such an export."""
    return find(path) is not None


def read(path: Path, target: Target) -> LabelSet:
    """The explanations of an export; none where it has only features. Raises LabelFileError, ImportRefused."""
    export = find(path)
    if export is None:
        raise LabelFileError(
            path, None, "", f"a Neuronpedia export, folders {', '.join(KINDS)}", "something else"
        )
    source = Source(target)
    explained: dict[int, dict[str, str]] = {}
    explainers: Counter[str] = Counter()
    empty = 0
    for file in export.explanations:
        for row in json_rows(file):
            source.check(row)
            index = row.feature("index", target.features)
            if row.values.get("description") in (None, ""):
                empty += 1
                continue
            explainer = _explainer(row)
            if explainer not in explained.setdefault(index, {}):
                explained[index][explainer] = row.text("description")
                explainers[explainer] += 1
    rank = {explainer: place for place, (explainer, _) in enumerate(_ranked(explainers))}
    chosen = {index: min(texts, key=rank.__getitem__) for index, texts in explained.items()}
    labels = tuple(
        label_of(index, explained[index][chosen[index]], source=chosen[index]) for index in sorted(chosen)
    )
    notes = [*source.notes]
    if empty:
        notes.append(f"{empty:,} explanations left out: they are empty.")
    if len(explainers) > 1:
        shares = ", ".join(f"{name} ({count:,})" for name, count in _ranked(explainers))
        notes.append(
            f"Several explainers, of whom the first in this list is taken for each feature: {shares}."
        )
    return LabelSet("neuronpedia", path, labels, tuple(notes))


class Source:
    """Checks that all lines are of one source, and that it is the target's."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._seen: tuple[str, str] | None = None
        self.notes: list[str] = []

    @property
    def name(self) -> str:
        """`model/source`, empty before the first line."""
        return "/".join(self._seen or ())

    def check(self, row: Row) -> None:
        """Raises LabelFileError where a line is of another source, ImportRefused where it cannot be the SAE's."""
        named = (row.text("modelId"), row.text("layer"))
        if named == self._seen:
            return
        if self._seen is not None:
            field = "modelId" if named[0] != self._seen[0] else "layer"
            raise row.wrong(field, f"{self.name}, as in the lines before it")
        self._seen = named
        if problem := self._problem(row, *named):
            self.notes.append(self._target.mismatch(f"{row.place}: {problem}"))

    def _problem(self, row: Row, model: str, source: str) -> str:
        target = self._target
        if target.neuronpedia_id:
            own = target.neuronpedia_id
            return "" if own == self.name else f"the labels are for {self.name}, the SAE's files name {own}"
        if site := _OTHER_SITE.search(source):
            return (
                f"layer: {source} names SAEs of another place ({site[1]}); the SAE reads the residual stream"
            )
        hook = row.values.get("hookName")
        layer = layer_of(hook) if isinstance(hook, str) else None
        number = re.match(r"\d+", source)
        # Sources before a block (hook_resid_pre) carry its number: they are the output of the block below.
        fits = {int(number[0]), int(number[0]) - 1} if number else {target.layer}
        if target.layer not in (fits if layer is None else {layer}):
            return f"layer: the labels are for {source}, the SAE reads {target.hook_point}"
        return ""


def _is_rows(path: Path) -> bool:
    return ending(path) in OBJECTS


def _is_explanation(path: Path) -> bool:
    """Whether its first object has the export's fields; a file that cannot be read is left to the plain reader."""
    try:
        return any({"modelId", "layer", "index"} <= set(row.values) for row in islice(json_rows(path), 1))
    except LabelFileError:
        return False


def _batches(folder: Path) -> tuple[Path, ...]:
    if not folder.is_dir():
        return ()
    numbered = {
        file: int(match[1])
        for file in folder.iterdir()
        if (match := _BATCH.match(file.name)) and file.is_file() and _is_rows(file)
    }
    return tuple(sorted(numbered, key=lambda file: (numbered[file], file.name)))


def _explainer(row: Row) -> str:
    kind, model = row.optional_text("typeName"), row.optional_text("explanationModelName")
    known = [part for part in (model, kind) if part and part != "unknown"]
    return ":".join(["neuronpedia", *known])


def _ranked(explainers: Counter[str]) -> list[tuple[str, int]]:
    """Most features first, then by name: the same whatever the order of the lines."""
    return sorted(explainers.items(), key=lambda item: (-item[1], item[0]))

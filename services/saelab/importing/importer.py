"""Imports an SAE: read in any format, written in ours, examined on its model, with labels and statistics beside it."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from services.fetched.errors import SetupError
from services.inference.examination import ExaminingRoom, examining_room
from services.inference.sae import saelens
from services.inference.sae.base import Sae
from services.inference.sae.doctor import Check, Diagnosis
from services.inference.sae.formats import FORMATS, load_sae
from services.inference.sae.hook_names import layer_of
from services.inference.sae.sidefile import write_side_file
from services.inference.sae.write_saelens import write_saelens
from services.inference.settings import InferenceSettings
from services.saelab import feature_table, label_table
from services.saelab.activation_statistics import HISTOGRAM_EDGES
from services.saelab.errors import ImportRefused
from services.saelab.feature_rows import FeatureTableInfo
from services.saelab.importing import hearth_labels
from services.saelab.importing.export_data import ExportData, find_export, read_export
from services.saelab.importing.imported_features import told
from services.saelab.importing.label_formats import label_format
from services.saelab.importing.labels import LabelSet, Target, merged
from services.saelab.importing.staging import require_free, staged, writing
from services.saelab.label_table import Label, LabelTableInfo


@dataclass(frozen=True, slots=True)
class ImportSettings:
    """What to import, and where to."""

    source: Path
    """The SAE, in any format of services.inference.sae.formats."""
    out: Path
    """Where our folder goes; the source itself to add labels to it."""
    labels: tuple[Path, ...] = ()
    """Files and folders of labels; the first one counts where several have a label for a feature."""
    format_name: str | None = None
    """None detects it."""
    model: str | None = None
    """Hub id or folder; None takes the one that the SAE's files name."""
    hook_point: str | None = None
    """Where the SAE reads; None leaves it to its files."""
    sae_id: str | None = None
    norm_scaling_factor: float | None = None
    weights: Literal["float16", "float32"] = "float32"
    allow_mismatch: bool = False
    replace: bool = False
    """Whether `out` may hold something, which is then lost."""
    device: str = "auto"
    threads: int | None = None

    @property
    def in_place(self) -> bool:
        """Whether labels are added to a folder that is ours already."""
        return self.source.resolve() == self.out.resolve()


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told what, as it is found out."""

    found: Callable[[str, Sae, str], None] = lambda format_name, sae, model: None
    """The SAE was read."""
    examined: Callable[[Diagnosis], None] = lambda diagnosis: None
    """The doctor is done; a refusal is raised afterwards."""
    checked: Callable[[Check], None] = lambda check: None
    """The examples of an export were replayed."""
    progress: Callable[[str, int, int], None] = lambda what, done, total: None
    """Files read of one kind."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What was written."""

    sae: Sae
    folder: Path
    model: str
    sets: tuple[LabelSet, ...]
    labels: int
    """Features with a label."""
    features: int
    """Features in features.parquet that the export knows; 0 where none was written."""
    notes: tuple[str, ...]


def import_sae(settings: ImportSettings, watch: Watch = Watch()) -> Imported:
    """Does it all; the folder is there whole, or not at all.

    Raises SaeFormatError or UnknownSaeFormat where the SAE cannot be read, SaeMismatch where the doctor refuses it,
    LabelFileError, TableError or ImportRefused where labels are broken or not this SAE's, SetupError without the model.
    """
    require_free(settings.out, replace=settings.replace or settings.in_place)
    for path in settings.labels:
        label_format(path)  # Says so now, and not after minutes.
    export = find_export(settings.labels)
    format_name = settings.format_name or FORMATS.detect(settings.source).name
    found = _load(settings)
    model = _model(settings, found)
    watch.found(format_name, found, model)
    with staged(settings.out) as folder:
        stored = _stored(settings, folder, found, format_name, model)
        room = _room(settings, model)
        diagnosis = room.examine(stored, allow_mismatch=settings.allow_mismatch)
        watch.examined(diagnosis)
        diagnosis.raise_if_refused()
        target = Target.of(
            found,
            dict.fromkeys((found.weights_digest, stored.weights_digest)),
            allow_mismatch=settings.allow_mismatch,
        )
        sets, labels, notes = _labels(settings, folder, target)
        data = read_export(export, diagnosis.sae, target, room, watch.progress) if export else None
        if data is not None and data.check is not None:
            watch.checked(data.check)
        sae = _with_scales(diagnosis.sae, data)
        with writing(settings.out):
            _write(folder, sae, model, labels, data, changed=sae is not stored)
    return Imported(
        sae=sae,
        folder=settings.out,
        model=model,
        sets=sets,
        labels=len(labels),
        features=len(data.features.features) if data else 0,
        notes=tuple(dict.fromkeys([*notes, *(data.notes if data else ())])),
    )


def _load(settings: ImportSettings) -> Sae:
    layer = None
    if settings.hook_point is not None:
        layer = layer_of(settings.hook_point)
        if layer is None:
            raise ImportRefused(
                f"--hook-point {settings.hook_point!r} is no block's output: name it like model.layers.15 or "
                "blocks.15.hook_resid_post"
            )
    return load_sae(
        settings.source,
        format_name=settings.format_name,
        sae_id=settings.sae_id,
        layer=layer,
        norm_scaling_factor=settings.norm_scaling_factor,
    )


def _model(settings: ImportSettings, sae: Sae) -> str:
    named = settings.model or sae.card.get("model")
    if not isinstance(named, str) or not named:
        raise ImportRefused(
            f"the files of {settings.source} do not say which model the SAE belongs to: name its Hugging Face id "
            "or folder with --model"
        )
    return named


def _stored(settings: ImportSettings, folder: Path, sae: Sae, format_name: str, model: str) -> Sae:
    """Writes the SAE into the folder, and returns it as it will be served."""
    if settings.in_place:
        given = (settings.hook_point, settings.sae_id, settings.norm_scaling_factor)
        if format_name != saelens.FORMAT.name or any(value is not None for value in given):
            raise ImportRefused(
                f"{settings.out} is the SAE itself: that adds labels to a SAELens folder and changes nothing else. "
                "To convert it, name another folder with --out"
            )
        with writing(settings.out):
            shutil.copytree(settings.source, folder, dirs_exist_ok=True)
        return load_sae(folder, format_name=format_name, sae_id=sae.id)
    card = sae.card | {"imported": {"format": format_name, "from": settings.source.resolve().name}}
    if not Path(model).exists():
        card["model"] = model
    with writing(settings.out):
        return write_saelens(folder, replace(sae, card=card), weights=settings.weights)


def _room(settings: ImportSettings, model: str) -> ExaminingRoom:
    try:
        return examining_room(
            InferenceSettings(model=model, device=settings.device, threads=settings.threads)
        )
    except (SetupError, ValueError, OSError) as error:
        # Files made with TransformerLens call models by names of its own, such as gpt2-small.
        advice = "" if settings.model else f" The SAE's files name {model!r}: name another with --model."
        raise ImportRefused(f"the model cannot be loaded: {error}{advice}") from error


def _labels(
    settings: ImportSettings, folder: Path, target: Target
) -> tuple[tuple[LabelSet, ...], list[Label], list[str]]:
    """The sets that were named, the labels to write, and notes."""
    sets = [label_format(path).read(path, target) for path in settings.labels]
    kept = [hearth_labels.read(folder, target)] if settings.in_place and hearth_labels.detects(folder) else []
    labels, notes = merged([*sets, *kept])
    if settings.labels and not labels and find_export(settings.labels) is None:
        raise ImportRefused(f"no labels in {', '.join(map(str, settings.labels))}")
    now = datetime.now(UTC).replace(microsecond=0)
    dated = [label if label.created.year > 1970 else replace(label, created=now) for label in labels]
    return tuple(sets), dated, [*(note for each in sets for note in each.notes), *notes]


def _with_scales(sae: Sae, data: ExportData | None) -> Sae:
    if data is None or sae.scales is not None or not data.features.features:
        return sae
    return replace(sae, scales=data.features.scales)


def _write(
    folder: Path, sae: Sae, model: str, labels: list[Label], data: ExportData | None, *, changed: bool
) -> None:
    release = version("hearth")
    if changed:
        write_side_file(folder, sae)
    if labels:
        sources = dict(Counter(label.source for label in labels).most_common())
        info = LabelTableInfo(
            sae.id, sae.weights_digest, len(labels), release, {"import": {"labels": sources}}
        )
        label_table.write(folder, info, labels)
    if data is not None:
        feature_info = FeatureTableInfo(
            sae_id=sae.id,
            weights_digest=sae.weights_digest,
            model=model,
            hook_point=sae.hook_point,
            features=sae.weights.d_sae,
            histogram_edges=HISTOGRAM_EDGES,
            texts_digest="",
            text_tokens=0,
            reference_tokens=data.reference_tokens,
            hearth_version=release,
            settings={"import": told(data.features, data.origin)},
        )
        feature_table.write(folder, feature_info, data.features.rows())

"""What is imported: an SAE's folder with the tables of the lab beside its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from services.cli.importing.rows import feature_of
from services.features.feature import Catalog
from services.features.requests import Upsert
from services.inference.sae.hook_names import layer_of
from services.saelab import feature_table, label_table, text_vectors
from services.saelab.errors import ImportRefused
from services.saelab.feature_table import FeatureTable
from services.saelab.label_table import Label, LabelTable
from services.saelab.text_vectors import TextVectors

FORM = "hearth features import, form 1"
"""Of what the catalogue is told about a row: raised where the same tables shall be imported anew."""


@dataclass(frozen=True, slots=True)
class SaeDirections:
    """What an import needs of the SAE itself."""

    id: str
    weights_digest: str
    hook_point: str
    layer: int
    model: str
    decoder: Float[NDArray[np.float32], "features d_model"]
    scales: Float[NDArray[np.float32], " features"]
    """0 where unknown."""


def has_tables(folder: Path) -> bool:
    """Whether there is something to import beside an SAE."""
    return any((folder / name).is_file() for name in (feature_table.FEATURES, label_table.LABELS))


class FeatureSource:
    """The features of one SAE. Raises TableError where a table cannot be read, ImportRefused where none is there.

    The SAE is read when it is first needed, because that takes seconds.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sae: SaeDirections | None = None
        self.features = feature_table.read(folder) if (folder / feature_table.FEATURES).is_file() else None
        self.labels = label_table.read(folder) if (folder / label_table.LABELS).is_file() else None
        if not self._tables:
            raise ImportRefused(
                f"{folder} has neither {feature_table.FEATURES} nor {label_table.LABELS}: make them with "
                "`hearth sae features` and `hearth sae label`"
            )

    def __len__(self) -> int:
        """Number of features."""
        return self._tables[0].info.features if self.features else len(self.sae.decoder)

    @property
    def content_digest(self) -> str:
        """Of the tables and the weights they are about: the same means that there is nothing to import again."""
        digest = hashlib.sha256(FORM.encode())
        for table in self._tables:
            with table.path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"\n{table.path.name} {content} {table.info.weights_digest}".encode())
        return digest.hexdigest()

    @property
    def catalog(self) -> Catalog:
        """What the catalogue is told of the SAE."""
        if self.features is None:
            sae = self.sae
            return Catalog(sae.id, sae.model, sae.hook_point, sae.layer, sae.weights_digest, len(self), ())
        info = self.features.info
        layer = layer_of(info.hook_point)
        return Catalog(
            sae=info.sae_id,
            model=info.model,
            hook_point=info.hook_point,
            layer=self.sae.layer if layer is None else layer,
            weights_digest=info.weights_digest,
            feature_count=info.features,
            histogram_edges=info.histogram_edges,
        )

    @property
    def sae(self) -> SaeDirections:
        """The SAE, read and compared with the tables. Raises ImportRefused where they are of other weights, SaeError
        where it cannot be read."""
        if self._sae is None:
            sae = _read_sae(self.folder)
            for table in self._tables:
                _require_same(sae, table)
            self._sae = sae
        return self._sae

    @property
    def vectors(self) -> TextVectors | None:
        """Vectors of texts that are shipped with the tables."""
        return text_vectors.read(self.folder)

    def upserts(self, start: int = 0) -> Iterator[Upsert]:
        """The features from `start` on, in order; a few hundred are in memory at a time."""
        sae, identity, count = self.sae, self.catalog.sae, len(self)
        rows = self.features.rows() if self.features else (None for _ in range(count))
        labels = _by_index(iter(self.labels or ()), count)
        numbered = zip(range(count), rows, labels, strict=True)
        for index, row, label in islice(numbered, start, None):
            feature = feature_of(identity, index, row, label, float(sae.scales[index]))
            yield Upsert(feature, sae.decoder[index])

    @property
    def _tables(self) -> list[FeatureTable | LabelTable]:
        return [table for table in (self.features, self.labels) if table is not None]


def _by_index(labels: Iterator[Label], count: int) -> Iterator[Label | None]:
    """One for each feature, None where the table has none of it; the labels come in order of features."""
    upcoming = next(labels, None)
    for index in range(count):
        if upcoming is not None and upcoming.index == index:
            yield upcoming
            upcoming = next(labels, None)
        else:
            yield None


def _read_sae(folder: Path) -> SaeDirections:
    from services.inference.sae.formats import load_sae  # imports torch

    sae = load_sae(folder)
    decoder: Any = sae.weights.W_dec.numpy()
    scales = np.zeros(sae.weights.d_sae, np.float32) if sae.scales is None else sae.scales.numpy()
    model = str(sae.card.get("model", ""))
    return SaeDirections(sae.id, sae.weights_digest, sae.hook_point, sae.layer, model, decoder, scales)


def _require_same(sae: SaeDirections, table: FeatureTable | LabelTable) -> None:
    info = table.info
    if info.weights_digest != sae.weights_digest:
        raise ImportRefused(
            f"{table.path} is about other weights ({info.weights_digest[:12]}…) than the SAE beside it "
            f"({sae.weights_digest[:12]}…): make it again"
        )
    if info.sae_id != sae.id:
        raise ImportRefused(f"{table.path} is about SAE {info.sae_id}, not {sae.id}: make it again")
    if info.features > len(sae.decoder):
        raise ImportRefused(f"{table.path} has {info.features} features, the SAE {len(sae.decoder)}")

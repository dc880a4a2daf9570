"""A feature as the catalogue knows it, and what one may ask of many."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache

NAMESPACE = uuid.UUID("6c0cbb0e-5b0c-5b53-9f0b-3d1f2c6a7e10")
"""Of features' ids: UUIDv5 of `<SAE id>/<index>`."""
UNLABELLED = "unlabelled: "
"""Begins a label that a test refuted, or that was never found."""


@lru_cache(4096)
def feature_id(sae: str, index: int) -> str:
    """The UUID of a feature: the same for ever."""
    # As uuid.uuid5 does it, in a tenth of the time; and a lookup asks three times.
    digest = bytearray(
        hashlib.sha1(NAMESPACE.bytes + f"{sae}/{index}".encode(), usedforsecurity=False).digest()
    )
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest[:16].hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class FeatureClass(StrEnum):
    """What a feature is about; feature_service.proto says what each means."""

    UNSPECIFIED = "unspecified"
    CONCEPT = "concept"
    LEXICAL = "lexical"
    SYNTACTIC = "syntactic"
    POSITION = "position"
    TEMPLATE = "template"
    DEAD = "dead"


SEARCHED = (FeatureClass.UNSPECIFIED, FeatureClass.CONCEPT, FeatureClass.LEXICAL)
"""The classes that a search covers which names none."""


@dataclass(frozen=True, slots=True)
class TokenWeight:
    """A token that a feature promotes (weight above 0, nats) or suppresses."""

    token: str
    id: int
    weight: float


@dataclass(frozen=True, slots=True)
class Dose:
    """What a nudge of one strength did to texts."""

    strength: float
    gain: float
    loss: float
    distinct: float


@dataclass(frozen=True, slots=True)
class Neighbor:
    """Another feature of the same SAE, and the cosine of the two."""

    index: int
    similarity: float


@dataclass(frozen=True, slots=True)
class Example:
    """A stretch of text around a token at which the feature is active."""

    kind: str
    """`top`, `quantile`, or empty where unknown."""
    quantile: float
    tokens: tuple[str, ...]
    activations: tuple[float, ...]
    """Raw, one for each token."""
    peak: int
    role: str
    """`user`, `assistant`, `system`, or empty."""
    document: str

    @property
    def text(self) -> str:
        """The whole stretch."""
        return "".join(self.tokens)


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature of an SAE. None stands for what was not measured."""

    sae: str
    index: int
    label: str
    description: str = ""
    label_source: str = ""
    label_score: float | None = None
    label_fuzzing: float | None = None
    label_null: float | None = None
    feature_class: FeatureClass = FeatureClass.UNSPECIFIED
    density: float = 0.0
    scale: float = 0.0
    max_activation: float = 0.0
    output_score: float | None = None
    steerability: float | None = None
    promoted: tuple[TokenWeight, ...] = ()
    suppressed: tuple[TokenWeight, ...] = ()
    histogram: tuple[int, ...] = ()
    doses: tuple[Dose, ...] = ()
    examples: tuple[Example, ...] = ()
    decoder_neighbors: tuple[Neighbor, ...] = ()
    coactivation_neighbors: tuple[Neighbor, ...] = ()
    etag: str = ""
    """Set by the catalogue."""
    updated: datetime | None = None
    """Set by the catalogue; UTC."""
    revision: int = 0
    """Set by the catalogue: how often people changed it."""

    def __hash__(self) -> int:
        return hash(
            (self.sae, self.index, self.etag)
        )  # of all fields, it would take longer than what is looked up by it

    @property
    def id(self) -> str:
        """Its UUID."""
        return feature_id(self.sae, self.index)

    @property
    def is_labelled(self) -> bool:
        """Whether it has a label that no test refuted."""
        return bool(self.label) and not self.label.startswith(UNLABELLED)


@dataclass(frozen=True, slots=True)
class Catalog:
    """The features of one SAE."""

    sae: str
    model: str
    hook_point: str
    layer: int
    weights_digest: str
    feature_count: int
    histogram_edges: tuple[float, ...]
    """In units of each feature's scale; one more than bins."""
    encoder: str = ""
    """Of labels and contexts; set by the catalogue."""
    imported: datetime | None = None
    """Set by the catalogue; UTC."""


@dataclass(frozen=True, slots=True)
class FeatureFilter:
    """Which features count; what is empty or None does not matter."""

    layers: tuple[int, ...] = ()
    classes: tuple[FeatureClass, ...] = ()
    min_density: float | None = None
    max_density: float | None = None
    label_sources: tuple[str, ...] = ()
    min_label_score: float | None = None
    labelled_only: bool = False
    min_output_score: float | None = None
    min_steerability: float | None = None


class SearchMode(StrEnum):
    """What a query is compared with."""

    HYBRID = "hybrid"
    LABEL = "label"
    CONTEXT = "context"
    LEXICAL = "lexical"


class Relation(StrEnum):
    """In which respect features are alike."""

    DECODER = "decoder"
    LABEL = "label"
    COACTIVATION = "coactivation"


@dataclass(frozen=True, slots=True)
class Hit:
    """A feature that was found; None where something was not compared."""

    feature: Feature
    score: float
    label_similarity: float | None = None
    context_similarity: float | None = None
    lexical_score: float | None = None

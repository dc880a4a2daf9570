"""What callers ask of the catalogue, in its own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from services.features.feature import Catalog, Feature, FeatureFilter, Relation, SearchMode
from services.features.store.base import Vector
from services.steering.conditions import FeatureKey


@dataclass(frozen=True, slots=True)
class Names:
    """Features by key or by id, never both; an SAE that is empty is the only one in the catalogue."""

    keys: tuple[FeatureKey, ...] = ()
    ids: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    """The path of each in the request, for errors: `keys[3]`."""

    def __len__(self) -> int:
        return len(self.keys) or len(self.ids)


@dataclass(frozen=True, slots=True)
class Absent:
    """Stands for a feature that is not in the catalogue."""

    id: str
    key: FeatureKey | None = None


@dataclass(frozen=True, slots=True)
class ListCall:
    """One page of an SAE's features."""

    sae: str
    page_size: int
    page_token: str
    filter: FeatureFilter
    full: bool


@dataclass(frozen=True, slots=True)
class SearchCall:
    """Features by meaning or by word."""

    query: str
    sae: str
    top_k: int
    filter: FeatureFilter
    mode: SearchMode
    full: bool


@dataclass(frozen=True, slots=True)
class RerankCall:
    """An order of some features."""

    query: str
    names: Names
    top_k: int
    mode: SearchMode


@dataclass(frozen=True, slots=True)
class NeighborsCall:
    """Features like some others."""

    names: Names
    relation: Relation
    top_k: int
    filter: FeatureFilter


@dataclass(frozen=True, slots=True)
class BeginCall:
    """The beginning of an import."""

    catalog: Catalog
    content_digest: str
    restart: bool


@dataclass(frozen=True, slots=True)
class Begun:
    """An import that has begun; see BeginImportResponse."""

    import_id: str
    next_index: int
    complete: bool
    encoder: str


@dataclass(frozen=True, slots=True)
class Upsert:
    """A feature to write."""

    feature: Feature
    decoder: Float[NDArray[np.float32], " d_model"] | None = None


@dataclass(frozen=True, slots=True)
class UpsertCall:
    """Features to write, of one SAE, none of them twice."""

    upserts: Sequence[Upsert]
    import_id: str = ""
    encoder: str = ""
    """What `vectors` were made with."""
    vectors: Mapping[bytes, Vector] = field(default_factory=dict)
    """By SHA-256 of their text."""


@dataclass(frozen=True, slots=True)
class Upserted:
    """What was written."""

    created: int
    updated: int
    next_index: int = 0


@dataclass(frozen=True, slots=True)
class UpdateCall:
    """What a person calls a feature; None leaves as it is."""

    names: Names
    """Of one feature."""
    label: str | None
    description: str | None
    etag: str
    note: str
    request_id: str
    owner: str


@dataclass(frozen=True, slots=True)
class RevisionsCall:
    """One page of a feature's history."""

    names: Names
    """Of one feature."""
    page_size: int
    page_token: str

"""Points, filters and queries in the words of qdrant_edge, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from qdrant_edge import (
    AcornSearchParams,
    EdgeConfig,
    EdgeOptimizersConfig,
    EdgeSparseVectorParams,
    EdgeVectorParams,
    FieldCondition,
    Filter,
    HasIdCondition,
    HnswIndexConfig,
    MatchAny,
    MatchValue,
    Memory,
    Modifier,
    PayloadSchemaType,
    QuantizationSearchParams,
    Query,
    QueryRequest,
    RangeFloat,
    Record,
    ScalarQuantizationConfig,
    ScalarType,
    ScoredPoint,
    SearchParams,
)
from qdrant_edge import Distance as EdgeDistance
from qdrant_edge import Point as EdgePoint
from qdrant_edge import SparseVector as EdgeSparseVector

from services.features.store import tuning
from services.features.store.base import (
    CollectionSchema,
    FoundPoint,
    Point,
    PointFilter,
    SparseVector,
    Vector,
    VectorQuery,
)
from services.features.store.clauses import Between, Clause, OneOf, excluded, required

if TYPE_CHECKING:
    from qdrant_edge import NamedVector

Condition = FieldCondition | HasIdCondition | Filter


def config(schema: CollectionSchema, threads: int) -> EdgeConfig:
    """A shard for such points: one segment, every write logged first."""
    return EdgeConfig(
        vectors={name: EdgeVectorParams(width, EdgeDistance.Cosine) for name, width in schema.dense.items()},
        sparse_vectors={name: EdgeSparseVectorParams(modifier=Modifier.Idf) for name in schema.sparse},
        hnsw_config=HnswIndexConfig(
            tuning.LINKS, tuning.BUILD_WIDTH, tuning.SCANNED_TO_KB, max_indexing_threads=threads
        ),
        quantization_config=ScalarQuantizationConfig(
            ScalarType.Int8, quantile=tuning.QUANTILE, memory=Memory.Cached
        ),
        optimizers=EdgeOptimizersConfig(indexing_threshold=tuning.INDEXED_FROM_KB, default_segment_number=1),
        max_search_threads=threads,
        wal_enabled=True,
    )


def indexed_fields(schema: CollectionSchema) -> dict[str, PayloadSchemaType]:
    """The payload fields that get an index."""
    fields = dict.fromkeys(schema.keyword_fields, PayloadSchemaType.Keyword)
    fields |= dict.fromkeys(schema.number_fields, PayloadSchemaType.Float)
    fields |= dict.fromkeys(schema.integer_fields, PayloadSchemaType.Integer)
    return fields | dict.fromkeys(schema.flag_fields, PayloadSchemaType.Bool)


def vector(value: Vector | SparseVector) -> NamedVector:
    """A dense or sparse vector."""
    if isinstance(value, SparseVector):
        return EdgeSparseVector(value.indices.tolist(), value.values.tolist())
    # A list, because the binding reads an array number by number, which takes ten times as long.
    dense: list[float] = value.tolist()
    return dense


def point(value: Point, kept: dict[str, NamedVector]) -> EdgePoint:
    """A point to write, with the vectors that it keeps from before."""
    dense = {name: vector(item) for name, item in value.dense.items()}
    sparse = {name: vector(item) for name, item in value.sparse.items()}
    return EdgePoint(value.id, kept | dense | sparse, dict(value.payload))


def where(value: PointFilter) -> Filter | None:
    """A filter; None where every point fulfils it."""
    must, must_not = required(value), excluded(value)
    if not must and not must_not:
        return None
    return Filter(
        must=[_condition(clause) for clause in must], must_not=[_condition(clause) for clause in must_not]
    )


def _condition(clause: Clause) -> Condition:
    if isinstance(clause, OneOf):
        if clause.flags:
            # The binding takes Python's own booleans for the integers 0 and 1, which no flag equals; numpy's it takes
            # for booleans.
            flags = [MatchValue(np.bool_(value)) for value in clause.values]  # type: ignore[arg-type]
            return Filter(should=[FieldCondition(clause.field, match=flag) for flag in flags])
        return FieldCondition(clause.field, match=MatchAny(list(clause.values)))  # type: ignore[arg-type]
    if isinstance(clause, Between):
        return FieldCondition(clause.field, range=RangeFloat(gte=clause.least, lte=clause.most))
    return HasIdCondition(set(clause.ids))


def query(value: VectorQuery, width: int) -> QueryRequest:
    """A query that keeps so many candidates in view. One among given points compares with every one of them."""
    return QueryRequest(
        limit=value.limit,
        query=Query.Nearest(vector(value.vector), using=value.using),
        filter=where(value.where),
        with_payload=payload_fields(value.fields),
        with_vector=False,
        params=SearchParams(
            exact=value.exact or value.where.ids is not None,
            hnsw_ef=max(width, value.limit),
            quantization=QuantizationSearchParams(rescore=True, oversampling=tuning.OVERSAMPLING),
            acorn=AcornSearchParams(enable=True, max_selectivity=tuning.SPARSE_FILTER),
        ),
    )


def payload_fields(fields: tuple[str, ...] | None) -> bool | list[str]:
    """Which payload fields to bring: all for None."""
    return True if fields is None else list(fields) or False


def scored(value: ScoredPoint) -> FoundPoint:
    """A point that a query found."""
    return FoundPoint(str(value.id), value.payload or {}, score=value.score)


def read(value: Record, vectors: Sequence[str]) -> FoundPoint:
    """A point that was read, with these dense vectors."""
    stored = value.vector if vectors and isinstance(value.vector, dict) else {}
    dense = {name: np.asarray(stored[name], np.float32) for name in vectors if name in stored}
    return FoundPoint(str(value.id), value.payload or {}, dense)

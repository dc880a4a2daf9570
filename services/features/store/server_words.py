"""Points, filters and queries in Qdrant's own protobuf messages, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from qdrant_client import grpc as qdrant
from qdrant_client.conversions.conversion import grpc_to_payload, payload_to_grpc

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

INDEX_TYPES = {
    "keyword_fields": qdrant.FieldType.FieldTypeKeyword,
    "number_fields": qdrant.FieldType.FieldTypeFloat,
    "integer_fields": qdrant.FieldType.FieldTypeInteger,
    "flag_fields": qdrant.FieldType.FieldTypeBool,
}


def new_collection(name: str, schema: CollectionSchema) -> qdrant.CreateCollection:
    """The request for a collection; the server indexes it by itself as it grows."""
    int8 = qdrant.ScalarQuantization(type=qdrant.QuantizationType.Int8, quantile=tuning.QUANTILE)
    return qdrant.CreateCollection(
        collection_name=name,
        vectors_config=qdrant.VectorsConfig(
            params_map=qdrant.VectorParamsMap(
                map={
                    vector_name: qdrant.VectorParams(size=width, distance=qdrant.Distance.Cosine)
                    for vector_name, width in schema.dense.items()
                }
            )
        ),
        sparse_vectors_config=qdrant.SparseVectorConfig(
            map={each: qdrant.SparseVectorParams(modifier=qdrant.Modifier.Idf) for each in schema.sparse}
        ),
        hnsw_config=qdrant.HnswConfigDiff(
            m=tuning.LINKS, ef_construct=tuning.BUILD_WIDTH, full_scan_threshold=tuning.SCANNED_TO_KB
        ),
        quantization_config=qdrant.QuantizationConfig(scalar=int8),
        optimizers_config=qdrant.OptimizersConfigDiff(indexing_threshold=tuning.INDEXED_FROM_KB),
    )


def new_indices(name: str, schema: CollectionSchema) -> list[qdrant.CreateFieldIndexCollection]:
    """The requests for indices of payload fields."""
    return [
        qdrant.CreateFieldIndexCollection(collection_name=name, field_name=each, field_type=kind, wait=True)
        for fields, kind in INDEX_TYPES.items()
        for each in getattr(schema, fields)
    ]


def point(value: Point, kept: Mapping[str, qdrant.Vector]) -> qdrant.PointStruct:
    """A point to write, with the vectors that it keeps from before."""
    vectors = dict(kept)
    vectors |= {name: qdrant.Vector(dense=_dense(item)) for name, item in value.dense.items()}
    vectors |= {name: qdrant.Vector(sparse=_sparse(item)) for name, item in value.sparse.items()}
    return qdrant.PointStruct(
        id=qdrant.PointId(uuid=value.id),
        payload=payload_to_grpc(dict(value.payload)),
        vectors=qdrant.Vectors(vectors=qdrant.NamedVectors(vectors=vectors)),
    )


def batches(points: Iterable[qdrant.PointStruct], most_bytes: int) -> list[list[qdrant.PointStruct]]:
    """The points in messages of about so many bytes; a larger point gets its own."""
    found: list[list[qdrant.PointStruct]] = []
    room = 0
    for each in points:
        size = each.ByteSize()
        if size > room or not found:
            found.append([])
            room = most_bytes
        found[-1].append(each)
        room -= size
    return found


def stored_vectors(record: qdrant.RetrievedPoint) -> dict[str, qdrant.Vector]:
    """All vectors of a point that was read, to be written again."""
    return {
        name: qdrant.Vector(sparse=item.sparse)
        if item.HasField("sparse")
        else qdrant.Vector(dense=item.dense)
        for name, item in record.vectors.vectors.vectors.items()
    }


def where(value: PointFilter) -> qdrant.Filter:
    """A filter; an empty one lets every point pass."""
    return qdrant.Filter(
        must=[_condition(clause) for clause in required(value)],
        must_not=[_condition(clause) for clause in excluded(value)],
    )


def _condition(clause: Clause) -> qdrant.Condition:
    if isinstance(clause, OneOf):
        if clause.flags:
            flags = [_matches(clause.field, qdrant.Match(boolean=bool(value))) for value in clause.values]
            return qdrant.Condition(filter=qdrant.Filter(should=flags))
        if all(isinstance(value, int) for value in clause.values) and clause.values:
            integers = qdrant.RepeatedIntegers(integers=[int(value) for value in clause.values])
            return _matches(clause.field, qdrant.Match(integers=integers))
        keywords = qdrant.RepeatedStrings(strings=[str(value) for value in clause.values])
        return _matches(clause.field, qdrant.Match(keywords=keywords))
    if isinstance(clause, Between):
        return qdrant.Condition(
            field=qdrant.FieldCondition(
                key=clause.field, range=qdrant.Range(gte=clause.least, lte=clause.most)
            )
        )
    return qdrant.Condition(has_id=qdrant.HasIdCondition(has_id=ids(clause.ids)))


def _matches(field: str, match: qdrant.Match) -> qdrant.Condition:
    return qdrant.Condition(field=qdrant.FieldCondition(key=field, match=match))


def query(collection: str, value: VectorQuery) -> qdrant.QueryPoints:
    """A query. One among given points compares with every one of them."""
    if isinstance(value.vector, SparseVector):
        nearest = qdrant.VectorInput(sparse=_sparse(value.vector))
    else:
        nearest = qdrant.VectorInput(dense=_dense(value.vector))
    return qdrant.QueryPoints(
        collection_name=collection,
        query=qdrant.Query(nearest=nearest),
        using=value.using,
        filter=where(value.where),
        limit=value.limit,
        with_payload=payload_fields(value.fields),
        params=qdrant.SearchParams(
            exact=value.exact or value.where.ids is not None,
            hnsw_ef=max(
                tuning.FILTERED_WIDTH, value.limit
            ),  # how much a filter leaves, the server alone knows
            quantization=qdrant.QuantizationSearchParams(rescore=True, oversampling=tuning.OVERSAMPLING),
            acorn=qdrant.AcornSearchParams(enable=True, max_selectivity=tuning.SPARSE_FILTER),
        ),
    )


def ids(values: Sequence[str]) -> list[qdrant.PointId]:
    """Points' ids."""
    return [qdrant.PointId(uuid=value) for value in values]


def payload_fields(fields: tuple[str, ...] | None) -> qdrant.WithPayloadSelector:
    """Which payload fields to bring: all for None."""
    if not fields:
        return qdrant.WithPayloadSelector(enable=fields is None)
    return qdrant.WithPayloadSelector(include=qdrant.PayloadIncludeSelector(fields=fields))


def vector_names(names: Sequence[str]) -> qdrant.WithVectorsSelector:
    """Which vectors to bring."""
    if not names:
        return qdrant.WithVectorsSelector(enable=False)
    return qdrant.WithVectorsSelector(include=qdrant.VectorsSelector(names=names))


def found(value: qdrant.RetrievedPoint | qdrant.ScoredPoint, vectors: Sequence[str] = ()) -> FoundPoint:
    """A point that was read, with these dense vectors."""
    stored = value.vectors.vectors.vectors if vectors else {}
    return FoundPoint(
        value.id.uuid,
        grpc_to_payload(value.payload),
        {name: np.asarray(stored[name].dense.data, np.float32) for name in vectors if name in stored},
        value.score if isinstance(value, qdrant.ScoredPoint) else 0.0,
    )


def _dense(value: Vector) -> qdrant.DenseVector:
    return qdrant.DenseVector(data=value.tolist())


def _sparse(value: SparseVector) -> qdrant.SparseVector:
    return qdrant.SparseVector(values=value.values.tolist(), indices=value.indices.tolist())

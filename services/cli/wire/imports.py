"""Messages of an import of features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hearth.v1 import feature_service_pb2 as pb
from services.features.feature import Catalog, Feature
from services.features.requests import Begun, Upsert
from services.features.texts import context_text, label_text, text_digest
from services.features.wire import encode
from services.saelab.text_vectors import TextVectors

BATCH_BYTES = 3 << 20
"""A batch ends before it would be longer: a request has to fit gRPC's 4 MiB."""
BATCH_FEATURES = 256
"""And it has at most so many features, so that progress is seen,"""
BATCH_TO_ENCODE = 64
"""or so many, where their texts have to be encoded first."""


def begin_request(catalog: Catalog, content_digest: str, *, restart: bool) -> pb.BeginImportRequest:
    """The request that begins an import."""
    return pb.BeginImportRequest(
        catalog=encode.catalog(catalog), content_digest=content_digest, restart=restart
    )


def begun_from_proto(message: pb.BeginImportResponse) -> Begun:
    """An import that has begun."""
    return Begun(message.import_id, message.next_index, message.complete, message.encoder)


def upsert_requests(
    upserts: Iterable[Upsert], begun: Begun, vectors: TextVectors | None
) -> Iterator[pb.BatchUpsertFeaturesRequest]:
    """The features in batches that fit a request, each with those vectors of its texts that are known."""
    known = vectors if vectors is not None and vectors.encoder == begun.encoder else None

    def empty() -> pb.BatchUpsertFeaturesRequest:
        return pb.BatchUpsertFeaturesRequest(
            import_id=begun.import_id, encoder=known.encoder if known else ""
        )

    most = BATCH_FEATURES if known else BATCH_TO_ENCODE
    batch, size = empty(), 0
    for upsert in upserts:
        message = pb.FeatureUpsert(feature=encode.feature(upsert.feature), decoder=_floats(upsert))
        texts = _text_vectors(upsert.feature, known)
        more = message.ByteSize() + sum(text.ByteSize() for text in texts)
        if batch.features and (size + more > BATCH_BYTES or len(batch.features) == most):
            yield batch
            batch, size = empty(), 0
        batch.features.append(message)
        batch.text_vectors.extend(texts)
        size += more
    if batch.features:
        yield batch


def _floats(upsert: Upsert) -> list[float]:
    return [] if upsert.decoder is None else upsert.decoder.tolist()


def _text_vectors(feature: Feature, known: TextVectors | None) -> list[pb.TextVector]:
    if known is None:
        return []
    found = ((text, known.get(text)) for text in (label_text(feature), context_text(feature)) if text)
    return [
        pb.TextVector(text_digest=text_digest(text), vector=vector.tolist())
        for text, vector in found
        if vector is not None
    ]

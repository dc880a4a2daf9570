"""A feature as a point of the vector store, and back.

What one filters by, and what FEATURE_VIEW_BASIC shows, are fields of the payload. Examples, histogram, doses and
neighbours are one compressed string beside them (DETAIL), so that an index of the store never holds them and a basic
answer never decodes them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from services.features.feature import (
    Dose,
    Example,
    Feature,
    FeatureClass,
    FeatureFilter,
    Neighbor,
    TokenWeight,
)
from services.features.store.base import CollectionSchema, PointFilter

LABEL, CONTEXT, DECODER = "label", "context", "decoder"
"""The named dense vectors."""
WORDS = "words"
"""The named sparse vector, for BM25."""
INDEX = "index"
"""The payload field that orders features; the point with the catalogue's own data has none."""
DETAIL = "detail"
COACTIVE = "coactive"
"""The neighbours by co-activation, apart from the rest of the detail: FindNeighbors reads those of thousands."""
BASIC_FIELDS = (
    INDEX,
    "label",
    "description",
    "label_source",
    "label_score",
    "label_fuzzing",
    "label_null",
    "class",
    "density",
    "scale",
    "max_activation",
    "output_score",
    "steerability",
    "tokens",
    "etag",
    "updated",
    "revision",
)
"""The payload fields that FEATURE_VIEW_BASIC shows."""
RECENT = 4096
"""Features that are kept decoded: what searches find is mostly what they have found before."""
_OPTIONAL = ("label_score", "label_fuzzing", "label_null", "output_score", "steerability")
_PLAIN = ("label", "description", "label_source", "density", "scale", "max_activation", "revision")
_ETAG_CHARACTERS = 16


def schema(width: int, decoder_width: int) -> CollectionSchema:
    """The collection of an SAE's features; `width` is the sentence encoder's, `decoder_width` 0 without decoders."""
    dense = {LABEL: width, CONTEXT: width}
    return CollectionSchema(
        dense=dense | ({DECODER: decoder_width} if decoder_width else {}),
        sparse=(WORDS,),
        keyword_fields=("class", "label_source"),
        number_fields=("density", "label_score", "output_score", "steerability"),
        integer_fields=(INDEX,),
        flag_fields=("labelled",),
    )


def payload_of(feature: Feature) -> dict[str, Any]:
    """The payload of a feature; its etag is made here."""
    values: dict[str, Any] = {name: getattr(feature, name) for name in _PLAIN}
    values |= {name: value for name in _OPTIONAL if (value := getattr(feature, name)) is not None}
    values[INDEX] = feature.index
    values["class"] = feature.feature_class.value
    values["labelled"] = feature.is_labelled
    values["tokens"] = _json([_tokens(feature.promoted), _tokens(feature.suppressed)])
    values[COACTIVE] = _json(_neighbors(feature.coactivation_neighbors))
    detail = _json(_detail(feature))
    values["etag"] = hashlib.sha256(_json([values, detail]).encode()).hexdigest()[:_ETAG_CHARACTERS]
    values["updated"] = feature.updated.isoformat() if feature.updated else ""
    # Level 3 takes a third of the time of the default and makes strings that are 5 % longer.
    values[DETAIL] = base64.b64encode(zlib.compress(detail.encode(), 3)).decode()
    return values


def feature_of(sae: str, payload: Mapping[str, Any]) -> Feature:
    """The feature of a payload, as much of it as was read."""
    feature = _basic(sae, tuple(map(payload.get, BASIC_FIELDS)))
    if DETAIL not in payload:
        return feature
    detail = json.loads(zlib.decompress(base64.b64decode(payload[DETAIL])))
    return replace(
        feature,
        histogram=tuple(detail["histogram"]),
        doses=tuple(Dose(*values) for values in detail["doses"]),
        examples=tuple(_example(values) for values in detail["examples"]),
        decoder_neighbors=_neighbor_list(detail["decoder"]),
        coactivation_neighbors=coactive_of(payload),
    )


@lru_cache(RECENT)
def _basic(sae: str, stored: tuple[Any, ...]) -> Feature:
    """The feature of the values of BASIC_FIELDS."""
    values = dict(zip(BASIC_FIELDS, stored, strict=True))
    promoted, suppressed = json.loads(values["tokens"])
    same: dict[str, Any] = {name: values[name] for name in (*_PLAIN, *_OPTIONAL)}
    return Feature(
        sae=sae,
        index=values[INDEX],
        feature_class=FeatureClass(values["class"]),
        promoted=_token_weights(promoted),
        suppressed=_token_weights(suppressed),
        etag=values["etag"],
        updated=datetime.fromisoformat(values["updated"]) if values["updated"] else None,
        **same,
    )


def coactive_of(payload: Mapping[str, Any]) -> tuple[Neighbor, ...]:
    """The neighbours by co-activation of a payload of which COACTIVE was read."""
    return _neighbor_list(json.loads(payload[COACTIVE]))


def point_filter(which: FeatureFilter, unless_named: Sequence[FeatureClass] = ()) -> PointFilter:
    """What a point must fulfil; `unless_named` are the classes that count where the filter names none.

    The filter's layers are not the points' affair: all features of an SAE are of one.
    """
    any_of: dict[str, Sequence[str | int | bool]] = {}
    if classes := which.classes or tuple(unless_named):
        any_of["class"] = [each.value for each in classes]
    if which.label_sources:
        any_of["label_source"] = list(which.label_sources)
    if which.labelled_only:
        any_of["labelled"] = [True]
    least = {
        "density": which.min_density,
        "label_score": which.min_label_score,
        "output_score": which.min_output_score,
        "steerability": which.min_steerability,
    }
    return PointFilter(
        any_of=any_of,
        at_least={name: value for name, value in least.items() if value is not None},
        at_most={} if which.max_density is None else {"density": which.max_density},
    )


def _detail(feature: Feature) -> dict[str, Any]:
    return {
        "histogram": feature.histogram,
        "doses": [list(asdict(dose).values()) for dose in feature.doses],
        "examples": [
            [e.kind, e.quantile, e.tokens, _sparse(e.activations), e.peak, e.role, e.document]
            for e in feature.examples
        ],
        "decoder": _neighbors(feature.decoder_neighbors),
    }


def _sparse(activations: Sequence[float]) -> list[list[float]]:
    """[places, values] of those that are not 0, which are few. Nine digits tell any two numbers of 32 bits apart."""
    active = [(place, float(f"{value:.9g}")) for place, value in enumerate(activations) if value]
    return [[place for place, _ in active], [value for _, value in active]]


def _example(values: list[Any]) -> Example:
    kind, quantile, tokens, (places, active), peak, role, document = values
    activations = [0.0] * len(tokens)
    for place, value in zip(places, active, strict=True):
        activations[place] = value
    return Example(kind, quantile, tuple(tokens), tuple(activations), peak, role, document)


def _tokens(weights: Sequence[TokenWeight]) -> list[list[Any]]:
    return [[weight.token, weight.id, weight.weight] for weight in weights]


def _token_weights(values: Sequence[Sequence[Any]]) -> tuple[TokenWeight, ...]:
    return tuple(TokenWeight(*each) for each in values)


def _neighbors(neighbors: Sequence[Neighbor]) -> list[list[float]]:
    return [[neighbor.index, neighbor.similarity] for neighbor in neighbors]


def _neighbor_list(values: Sequence[Sequence[Any]]) -> tuple[Neighbor, ...]:
    return tuple(Neighbor(*each) for each in values)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)

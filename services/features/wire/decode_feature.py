"""Features, catalogues and filters from messages."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hearth.v1 import feature_service_pb2 as pb
from hearth.v1 import prompt_pb2
from services.errors import InvalidField
from services.features.feature import (
    Catalog,
    Dose,
    Example,
    Feature,
    FeatureClass,
    FeatureFilter,
    Neighbor,
    TokenWeight,
)
from services.features.wire import numbers
from services.rpc import fields

MAX_ID = 300
"""Characters of an SAE's or a model's id, of a hook point, a digest, an encoder, a source."""
MAX_LABEL = 80
MAX_DESCRIPTION = 2000
MAX_FEATURES = 1 << 24
MAX_EDGES = 1025
MAX_TOKENS, MAX_TOKEN = 200, 500
MAX_DOSES, MAX_EXAMPLES, MAX_EXAMPLE_TOKENS, MAX_NEIGHBORS = 100, 100, 1024, 1000
MAX_LAYER, MAX_NAMED = 10_000, 200
COSINE = 1.01
"""The largest absolute value that a cosine may have after rounding."""

CLASSES: dict[pb.FeatureClass.ValueType, FeatureClass] = {
    pb.FEATURE_CLASS_UNSPECIFIED: FeatureClass.UNSPECIFIED,
    pb.FEATURE_CLASS_CONCEPT: FeatureClass.CONCEPT,
    pb.FEATURE_CLASS_LEXICAL: FeatureClass.LEXICAL,
    pb.FEATURE_CLASS_SYNTACTIC: FeatureClass.SYNTACTIC,
    pb.FEATURE_CLASS_POSITION: FeatureClass.POSITION,
    pb.FEATURE_CLASS_TEMPLATE: FeatureClass.TEMPLATE,
    pb.FEATURE_CLASS_DEAD: FeatureClass.DEAD,
}
KINDS: dict[pb.ExampleKind.ValueType, str] = {
    pb.EXAMPLE_KIND_UNSPECIFIED: "",
    pb.EXAMPLE_KIND_TOP: "top",
    pb.EXAMPLE_KIND_QUANTILE: "quantile",
}
ROLES: dict[prompt_pb2.Role.ValueType, str] = {
    prompt_pb2.ROLE_UNSPECIFIED: "",
    prompt_pb2.ROLE_SYSTEM: "system",
    prompt_pb2.ROLE_USER: "user",
    prompt_pb2.ROLE_ASSISTANT: "assistant",
}


def feature_class(value: pb.FeatureClass.ValueType, field: str) -> FeatureClass:
    """A class."""
    if value not in CLASSES:
        raise InvalidField(field, f"{value} is not a value of this enum")
    return CLASSES[value]


def feature_filter(message: pb.FeatureFilter) -> FeatureFilter:
    """Which features count."""
    field = "filter"
    for name in ("layers", "classes", "label_sources"):
        numbers.count(getattr(message, name), 0, MAX_NAMED, f"{field}.{name}", name)
    for place, layer in enumerate(message.layers):
        numbers.size(layer, 0, MAX_LAYER, f"{field}.layers[{place}]")
    low, high = (_optional(message, name, field, 0, 1) for name in ("min_density", "max_density"))
    if low is not None and high is not None and low > high:
        raise InvalidField(f"{field}.max_density", f"is {high:g}, below min_density, {low:g}")
    return FeatureFilter(
        layers=tuple(message.layers),
        classes=tuple(feature_class(c, f"{field}.classes[{n}]") for n, c in enumerate(message.classes)),
        min_density=low,
        max_density=high,
        label_sources=tuple(
            fields.text(source, f"{field}.label_sources[{n}]", MAX_ID, least=1)
            for n, source in enumerate(message.label_sources)
        ),
        min_label_score=_optional(message, "min_label_score", field, 0, 1),
        labelled_only=message.labelled_only,
        min_output_score=_optional(message, "min_output_score", field),
        min_steerability=_optional(message, "min_steerability", field),
    )


def catalog(message: pb.Catalog) -> Catalog:
    """What is imported; encoder and import_time are the catalogue's own."""
    field = "catalog"
    names = ("sae", "model", "hook_point", "weights_digest")
    sae, model, hook_point, digest = (
        fields.text(getattr(message, name), f"{field}.{name}", MAX_ID, least=1) for name in names
    )
    if not 1 <= message.feature_count <= MAX_FEATURES:
        raise InvalidField(
            f"{field}.feature_count", f"is {message.feature_count}; allowed: 1 to {MAX_FEATURES}"
        )
    edges = message.histogram_edges
    numbers.count(edges, 0, MAX_EDGES, f"{field}.histogram_edges", "edges")
    numbers.finite(edges, f"{field}.histogram_edges")
    if len(edges) == 1 or any(low >= high for low, high in pairwise(edges)):
        raise InvalidField(f"{field}.histogram_edges", "allowed: none, or two and more in rising order")
    layer = numbers.size(message.layer, 0, MAX_LAYER, f"{field}.layer")
    return Catalog(sae, model, hook_point, layer, digest, message.feature_count, tuple(edges))


def feature(message: pb.Feature, field: str) -> Feature:
    """A feature to write; id, etag, update_time and revision are the catalogue's own."""
    if not message.HasField("key"):
        raise InvalidField(f"{field}.key", "it is not set")
    return Feature(
        sae=fields.text(message.key.sae, f"{field}.key.sae", MAX_ID),
        index=message.key.index,
        label=fields.text(message.label, f"{field}.label", MAX_LABEL),
        description=fields.text(message.description, f"{field}.description", MAX_DESCRIPTION),
        label_source=fields.text(message.label_source, f"{field}.label_source", MAX_ID),
        label_score=_optional(message, "label_score", field, 0, 1),
        label_fuzzing=_optional(message, "label_fuzzing", field, 0, 1),
        label_null=_optional(message, "label_null", field, 0, 1),
        feature_class=feature_class(message.feature_class, f"{field}.feature_class"),
        density=numbers.number(message.density, f"{field}.density", 0, 1),
        scale=numbers.number(message.scale, f"{field}.scale", 0),
        max_activation=numbers.number(message.max_activation, f"{field}.max_activation"),
        output_score=_optional(message, "output_score", field),
        steerability=_optional(message, "steerability", field),
        promoted=_tokens(message.promoted, f"{field}.promoted"),
        suppressed=_tokens(message.suppressed, f"{field}.suppressed"),
        histogram=tuple(message.histogram),
        doses=_doses(message.doses, f"{field}.doses"),
        examples=_examples(message.examples, f"{field}.examples"),
        decoder_neighbors=_neighbors(message.decoder_neighbors, f"{field}.decoder_neighbors"),
        coactivation_neighbors=_neighbors(message.coactivation_neighbors, f"{field}.coactivation_neighbors"),
    )


def _optional(
    message: pb.Feature | pb.FeatureFilter,
    name: str,
    field: str,
    low: float = float("-inf"),
    high: float = float("inf"),
) -> float | None:
    if not message.HasField(name):  # type: ignore[arg-type]
        return None
    return numbers.number(getattr(message, name), f"{field}.{name}", low, high)


def _tokens(messages: Sequence[pb.TokenWeight], field: str) -> tuple[TokenWeight, ...]:
    numbers.count(messages, 0, MAX_TOKENS, field, "tokens")
    return tuple(
        TokenWeight(
            _token(m.token, f"{field}[{n}].token"),
            m.id,
            numbers.number(m.weight, f"{field}[{n}].weight"),
        )
        for n, m in enumerate(messages)
    )


def _doses(messages: Sequence[pb.Dose], field: str) -> tuple[Dose, ...]:
    numbers.count(messages, 0, MAX_DOSES, field, "doses")
    return tuple(
        Dose(
            numbers.number(m.strength, f"{field}[{n}].strength"),
            numbers.number(m.gain, f"{field}[{n}].gain"),
            numbers.number(m.loss, f"{field}[{n}].loss"),
            numbers.number(m.distinct, f"{field}[{n}].distinct"),
        )
        for n, m in enumerate(messages)
    )


def _examples(messages: Sequence[pb.ActivatingExample], field: str) -> tuple[Example, ...]:
    numbers.count(messages, 0, MAX_EXAMPLES, field, "examples")
    return tuple(_example(m, f"{field}[{n}]") for n, m in enumerate(messages))


def _example(message: pb.ActivatingExample, field: str) -> Example:
    numbers.count(message.tokens, 1, MAX_EXAMPLE_TOKENS, f"{field}.tokens", "tokens")
    count = len(message.tokens)
    numbers.count(message.activations, count, count, f"{field}.activations", "numbers")
    numbers.finite(message.activations, f"{field}.activations")
    if message.peak >= count:
        raise InvalidField(
            f"{field}.peak", f"is {message.peak}; allowed: 0 to {count - 1}, one of the tokens"
        )
    for name, values in (("kind", KINDS), ("role", ROLES)):
        if getattr(message, name) not in values:
            raise InvalidField(f"{field}.{name}", f"{getattr(message, name)} is not a value of this enum")
    return Example(
        kind=KINDS[message.kind],
        quantile=numbers.number(message.quantile, f"{field}.quantile", 0, 1),
        tokens=_texts(message.tokens, f"{field}.tokens"),
        activations=tuple(message.activations),
        peak=message.peak,
        role=ROLES[message.role],
        document=fields.text(message.document, f"{field}.document", MAX_ID),
    )


def _texts(values: Sequence[str], field: str) -> tuple[str, ...]:
    if (
        max(map(len, values)) > MAX_TOKEN
    ):  # hundreds in each feature: a path for each is made only to name one
        for number, value in enumerate(values):
            _token(value, f"{field}[{number}]")
    return tuple(values)


def _token(value: str, field: str) -> str:
    """A piece of text as a tokenizer has it, U+0000 included."""
    if len(value) > MAX_TOKEN:
        raise InvalidField(field, f"has {len(value)} characters; allowed: at most {MAX_TOKEN}")
    return value


def _neighbors(messages: Sequence[pb.FeatureNeighbor], field: str) -> tuple[Neighbor, ...]:
    numbers.count(messages, 0, MAX_NEIGHBORS, field, "neighbours")
    return tuple(
        Neighbor(m.index, numbers.number(m.similarity, f"{field}[{n}].similarity", -COSINE, COSINE))
        for n, m in enumerate(messages)
    )

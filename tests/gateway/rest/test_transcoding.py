"""From JSON, path and query to a message: both spellings, and an error that names the field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from services.errors import InvalidField
from services.gateway.rest.table import ROUTES, Route
from services.gateway.rest.wire.reading import request_of

BY_NAME = {route.operation_id: route for route in ROUTES}
ID = "11111111-2222-3333-4444-555555555555"


def read(operation: str, body: Any = None, query: str = "", **path: str) -> Any:
    """The request of a route; `query` as in `name=value&name=value`."""
    pairs = [tuple(pair.split("=", 1)) for pair in query.split("&") if pair]
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return request_of(BY_NAME[operation], path, pairs, content)  # type: ignore[arg-type]


def test_a_body_may_spell_its_fields_as_json_or_as_the_schema_does() -> None:
    one = read("searchFeatures", {"query": "sea", "topK": 3, "filter": {"minDensity": 0.5}})
    two = read("searchFeatures", {"query": "sea", "top_k": 3, "filter": {"min_density": 0.5}})
    assert one == two
    assert one.top_k == 3


def test_a_query_fills_fields_of_messages_lists_and_flags() -> None:
    query = "sae=s&pageSize=7&filter.classes=FEATURE_CLASS_CONCEPT&filter.classes=FEATURE_CLASS_LEXICAL"
    found = read(
        "listFeatures", None, query + "&filter.labelled_only=true&filter.minDensity=1e-3&filter.layers=4"
    )
    assert MessageToDict(found) == {
        "sae": "s",
        "pageSize": 7,
        "filter": {
            "classes": ["FEATURE_CLASS_CONCEPT", "FEATURE_CLASS_LEXICAL"],
            "labelledOnly": True,
            "minDensity": 0.001,
            "layers": [4],
        },
    }


def test_a_parameter_of_the_path_fills_its_field() -> None:
    assert read("getVariant", id=ID).id == ID
    assert read("watchAutoSteerJob", query="after=5", id=ID).after_sequence == 5
    assert read("getFeatureByIndex", query="sae=s&index=3").key.index == 3
    assert read("updateVariant", {"variant": {"name": "n"}, "updateMask": "name"}, id=ID).variant.id == ID
    same = read("updateVariant", {"variant": {"id": ID, "name": "n"}, "updateMask": "name"}, id=ID)
    assert same.variant.id == ID


def test_integers_may_be_texts_and_numbers_may_be_whole_floats() -> None:
    found = read(
        "generate", {"sampling": {"seed": "18446744073709551615", "maxTokens": 4.0, "temperature": "0.5"}}
    )
    assert (found.sampling.seed, found.sampling.max_tokens, found.sampling.temperature) == (2**64 - 1, 4, 0.5)


def test_null_is_as_if_it_were_not_there() -> None:
    assert not read("generate", {"steering": None, "sampling": {"seed": None}}).HasField("steering")


EDIT = "steering.edits[1]"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"promt": {}}, "promt"),
        ({"steering": {"edits": [{}, {"nudge": "much"}]}}, f"{EDIT}.nudge"),
        ({"steering": {"edits": [{}, {"nudge": True}]}}, f"{EDIT}.nudge"),
        ({"steering": {"edits": [{}, {"nudge": 1e39}]}}, f"{EDIT}.nudge"),
        ({"steering": {"edits": [{}, {"nudge": 1, "pin": 1}]}}, f"{EDIT}.pin"),
        ({"steering": {"edits": [{}, {"feature": {"index": -1}}]}}, f"{EDIT}.feature.index"),
        ({"steering": {"edits": [{}, {"feature": {"index": 2**32}}]}}, f"{EDIT}.feature.index"),
        ({"steering": {"edits": [{}, {"feature": {"index": 1.5}}]}}, f"{EDIT}.feature.index"),
        ({"steering": {"edits": [{}, {"feature": {"idx": 1}}]}}, f"{EDIT}.feature.idx"),
        ({"steering": {"edits": [{}, {"feature": 3}]}}, f"{EDIT}.feature"),
        ({"steering": {"edits": [{}, None]}}, EDIT),
        ({"steering": {"edits": {}}}, "steering.edits"),
        ({"steering": {"unit": "UNIT_MILES"}}, "steering.unit"),
        ({"steering": {"unit": 77}}, "steering.unit"),
        ({"steering": {"unit": []}}, "steering.unit"),
        ({"sampling": {"seed": "1_000"}}, "sampling.seed"),
        ({"sampling": {"seed": 2**64}}, "sampling.seed"),
        ({"sampling": {"maxTokens": 1, "max_tokens": 1}}, "sampling.max_tokens"),
        ({"sampling": {"stop": [5]}}, "sampling.stop[0]"),
        ({"prompt": {"text": "\ud800"}}, "prompt.text"),
        ({"receipt": "true"}, "receipt"),
        ([], "body"),
        (b"{", "body"),
        (b"\xff", "body"),
        (b'{"model": "a", "model": "b"}', "body"),
        (b'{"sampling": {"temperature": NaN}}', "body"),
        (b'{"sampling": {"seed": ' + b"9" * 5000 + b"}}", "body"),
        (b'{"prompt": ' + b"[" * 100_000 + b"}", "body"),
    ],
)
def test_what_is_wrong_in_a_body_is_named(body: Any, field: str) -> None:
    with pytest.raises(InvalidField) as refused:
        read("generate", body)
    assert refused.value.field == field


def test_what_nests_without_end_is_refused_before_it_is_built() -> None:
    condition: dict[str, Any] = {}
    for _ in range(60):
        condition = {"negation": condition}
    with pytest.raises(InvalidField, match="too deep"):
        read("generate", {"steering": {"scopes": [{"when": condition}]}})


@pytest.mark.parametrize(
    ("operation", "query", "field"),
    [
        ("listVariants", "pageSize=many", "page_size"),
        ("listVariants", "pageSize=-1", "page_size"),
        ("listVariants", "pageSize=1&pageSize=2", "pageSize"),
        ("listVariants", "pagesize=1", "pagesize"),
        ("listVariants", "showDeleted=yes", "show_deleted"),
        ("listFeatures", "view=ALL", "view"),
        ("listFeatures", "filter=x", "filter"),
        ("getFeatureByIndex", "index=1.5", "key.index"),
        ("getVariantByName", "name=%&id=1", "id"),
    ],
)
def test_what_is_wrong_in_a_query_is_named(operation: str, query: str, field: str) -> None:
    with pytest.raises(InvalidField) as refused:
        read(operation, None, query)
    assert refused.value.field == field


def test_an_id_in_the_body_that_is_not_the_paths_is_refused() -> None:
    with pytest.raises(InvalidField) as refused:
        read("updateVariant", {"variant": {"id": ID.replace("1", "2")}}, id=ID)
    assert refused.value.field == "variant.id"


@pytest.mark.parametrize(
    ("operation", "field", "wrong", "right"),
    [
        ("createAutoSteerJob", "spec.budget", "a minute", "60s"),
        ("updateFeature", "update_mask", 5, "label,description"),
        ("updateFeature", "update_mask", "a_b", "label"),
        ("updateFeature", "feature.update_time", "today", "2026-01-01T00:00:00Z"),
    ],
)
def test_times_durations_and_masks_are_texts_of_a_form(
    operation: str, field: str, wrong: Any, right: str
) -> None:
    def body(value: Any) -> dict[str, Any]:
        first, _, second = field.partition(".")
        return {first: {second: value}} if second else {first: value}

    read(operation, body(right))
    with pytest.raises(InvalidField) as refused:
        read(operation, body(wrong))
    assert refused.value.field == field


def test_a_fixed_path_is_listed_before_one_with_a_field_in_its_place() -> None:
    def hides(one: Route, other: Route) -> bool:
        parts = list(zip(one.path.split("/"), other.path.split("/"), strict=False))
        same_length = one.path.count("/") == other.path.count("/")
        return one.verb == other.verb and same_length and all(a.startswith("{") or a == b for a, b in parts)

    for number, route in enumerate(ROUTES):
        assert not any(hides(route, later) for later in ROUTES[number + 1 :]), route.path

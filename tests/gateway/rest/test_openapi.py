"""The OpenAPI document says what the schema and the routes say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from services.gateway.rest.__main__ import generate
from services.gateway.rest.document import COMMITTED, committed
from services.gateway.rest.table import ROUTES
from services.gateway.rest.wire.methods import _SERVICES
from tests.gateway.light import Light

NOT_FOR_PEOPLE = {"BeginImport", "BatchUpsertFeatures", "CommitImport", "DeleteCatalog"}
"""Imports, which `hearth features import` makes over gRPC."""


def references(value: Any) -> Iterator[str]:
    """All `$ref`s within a document."""
    if isinstance(value, dict):
        for name, content in value.items():
            if name == "$ref":
                yield content
            else:
                yield from references(content)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_the_committed_document_is_what_schema_and_routes_give() -> None:
    assert COMMITTED.read_text("utf-8") == generate(), "run `make protos` and commit it"


def test_every_rpc_has_a_route() -> None:
    routed = {route.method for route in ROUTES}
    known = {method.name for service in _SERVICES.values() for method in service.methods}
    assert known - routed == NOT_FOR_PEOPLE


def test_every_schema_property_and_operation_is_described() -> None:
    document = committed()
    for name, schema in document["components"]["schemas"].items():
        assert schema["description"], name
        for field, content in schema.get("properties", {}).items():
            assert content.get("description") or name == "Error", f"{name}.{field}"
    operations = [op for path in document["paths"].values() for op in path.values()]
    assert all(operation["description"] for operation in operations)
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))


def test_64_bit_integers_are_texts_and_enums_are_their_names() -> None:
    schemas = committed()["components"]["schemas"]
    assert schemas["SamplingInput"]["properties"]["seed"]["type"] == "string"
    assert schemas["Role"]["enum"][1] == "ROLE_SYSTEM"
    assert schemas["Token"]["properties"]["piece"]["contentEncoding"] == "base64"
    assert "Exactly one of `chat`, `text`, `tokenIds`." in schemas["Prompt"]["description"]


def test_what_answers_always_have_is_required_there_but_not_in_requests() -> None:
    schemas = committed()["components"]["schemas"]
    assert "edits" in schemas["Steering"]["required"]
    assert "maxDelta" not in schemas["Steering"]["required"]
    assert "required" not in schemas["SteeringInput"]
    assert schemas["SteeringInput"]["additionalProperties"] is False


def test_the_gateway_serves_one_document_of_all_its_routes(light: Light) -> None:
    served = light.client("").get("/openapi.json").json()
    assert {"/hearth/v1/generate", "/v1/chat/completions", "/api/inference/v1/features/search"} <= set(
        served["paths"]
    )
    known = {f"#/components/{kind}/{name}" for kind, all_ in served["components"].items() for name in all_}
    assert set(references(served)) <= known
    assert "422" not in json.dumps(served["paths"])

"""The OpenAPI document of the REST API: routes from the table, schemas from the messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.gateway.rest.table import BASE, ROUTES, Route
from services.gateway.rest.wire.methods import Parameter, method_of, parameters_of, reads_body
from services.gateway.rest.wire.schemas import Schema, Schemas

TITLE = "Hearth"
_TAGS = {
    "inference": "Run the model, steered or not, and look inside.",
    "features": "The catalogue of features.",
    "variants": "Named steering, of the key's owner alone.",
    "autosteer": "Searches for edits, of the key's owner alone.",
}
_ERROR = {"$ref": "#/components/responses/Error"}
_STATUSES = {
    "400": "A field is missing or has a value that is not allowed; `field_violations` names it.",
    "401": "No key, or one that is unknown or revoked.",
    "404": "No such resource, or none of the key's owner.",
    "409": "The resource has changed meanwhile, or is there already.",
    "429": "The key's quota is used up, or too many requests wait; `Retry-After` says when to come back.",
    "503": "A service does not answer; `Retry-After` says when to come back.",
}


def document(comments: Mapping[str, str]) -> dict[str, Any]:
    """The whole document. `comments` are those of the .proto files."""
    methods = [method_of(route.service, route.method) for route in ROUTES]
    schemas = Schemas(comments, [method.output_type for method in methods])
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(BASE + route.path, {})[route.verb.lower()] = _operation(route, schemas, comments)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": TITLE,
            "version": "1",
            "description": "Every body and answer is a message of the gRPC API as proto3 JSON: names in lowerCamelCase "
            "(the schema's own spelling is understood too), 64-bit integers as strings, bytes as base64.",
        },
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": dict(sorted((schemas.components | {"Error": _error()}).items())),
            "responses": {"Error": {"description": "What went wrong.", "content": _json(_ref("Error"))}},
            "securitySchemes": {
                "HTTPBearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key that `hearth keys create` has made.",
                }
            },
        },
    }


def _operation(route: Route, schemas: Schemas, comments: Mapping[str, str]) -> Schema:
    method = method_of(route.service, route.method)
    text = comments.get(method.full_name, "")
    operation: Schema = {
        "operationId": route.operation_id,
        "tags": [route.service],
        "summary": text.split(". ")[0].rstrip("."),
        "description": text,
        "security": [{"HTTPBearer": []}],
    }
    parameters = [_parameter(route, each, schemas) for each in parameters_of(route)]
    if route.last_event:
        parameters.append(_LAST_EVENT)
    if parameters:
        operation["parameters"] = parameters
    if reads_body(route):
        body = schemas.request(method.input_type, route.requires)
        operation["requestBody"] = {"required": True, "content": _json(body)}
    answer = schemas.answer(method.output_type)
    operation["responses"] = {"200": _stream(answer, route) if method.server_streaming else _answer(answer)}
    if route.last_event:
        operation["responses"]["204"] = {"description": "It has ended, and all its events were sent before."}
    operation["responses"] |= {status: _ERROR | {"description": why} for status, why in _STATUSES.items()}
    operation["responses"]["default"] = _ERROR
    return operation


def _parameter(route: Route, parameter: Parameter, schemas: Schemas) -> Schema:
    schema = schemas.field(parameter.field, asked=True)
    described = {"description": schema.pop("description")} if "description" in schema else {}
    return {
        "name": parameter.name,
        "in": "path" if parameter.in_path else "query",
        "required": parameter.in_path or parameter.name in route.requires,
        "schema": schema,
    } | described


_LAST_EVENT: Schema = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "The `id` of the last event that arrived, as browsers send it; goes before `after`.",
}


def _answer(schema: Schema) -> Schema:
    return {"description": "The answer.", "content": _json(schema)}


def _stream(schema: Schema, route: Route) -> Schema:
    numbered = ", and its sequence as `id`" if route.last_event else ""
    return {
        "description": f"Server-sent events: each has one such object as `data`{numbered}. "
        "An error on the way is a last event with the object of an error response.",
        "content": {"text/event-stream": {"schema": schema}},
    }


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _error() -> Schema:
    violation = {
        "type": "object",
        "properties": {
            "field": {"type": "string", "description": "Its path, such as `steering.edits[2].nudge`."},
            "description": {"type": "string", "description": "What is wrong, and what is allowed."},
        },
        "required": ["field", "description"],
    }
    properties = {
        "code": {"type": "integer", "description": "The HTTP status."},
        "status": {"type": "string", "description": "The gRPC status, such as `NOT_FOUND`."},
        "reason": {
            "type": "string",
            "description": "A name of `ErrorReason` without its prefix, `KEY_REFUSED`, or empty.",
        },
        "message": {"type": "string", "description": "For people."},
        "field_violations": {"type": "array", "items": violation, "description": "The fields at fault."},
        "retry_after_seconds": {"type": "number", "description": "When to come back, where that helps."},
    }
    error = {
        "type": "object",
        "properties": properties,
        "required": ["code", "status", "reason", "message", "field_violations"],
    }
    return {
        "type": "object",
        "description": "An error.",
        "properties": {"error": error},
        "required": ["error"],
    }

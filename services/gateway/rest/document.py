"""The OpenAPI document that the gateway serves: the committed one of the REST API, and FastAPI's own of the rest."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from services.gateway.failures import EMBER, OPENAI

COMMITTED = Path(__file__).parent / "openapi.json"
"""Made from the schema by `make protos`."""
_OPENAI_ERROR = {
    "type": "object",
    "description": "An error in OpenAI's shape.",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
            "required": ["message", "type", "param", "code"],
        }
    },
    "required": ["error"],
}
_EMBER_ERROR = {
    "type": "object",
    "description": "An error in Ember's shape.",
    "properties": {"detail": {"type": "string"}, "field": {"type": ["string", "null"]}},
    "required": ["detail", "field"],
}


@cache
def committed() -> dict[str, Any]:
    """The document of the REST API."""
    document: dict[str, Any] = json.loads(COMMITTED.read_text("utf-8"))
    return document


def whole(app: FastAPI) -> dict[str, Any]:
    """The document of all routes of an app."""
    ours = committed()
    theirs = get_openapi(title="Hearth", version=ours["info"]["version"], routes=app.routes)
    for path, operations in theirs["paths"].items():
        for operation in operations.values():
            operation["responses"].pop("422", None)  # what is invalid is answered with 400
            operation["responses"]["default"] = {
                "description": "What went wrong.",
                "content": {
                    "application/json": {"schema": {"$ref": f"#/components/schemas/{_error_of(path)}"}}
                },
            }
    schemas = {**theirs.get("components", {}).get("schemas", {}), **ours["components"]["schemas"]}
    schemas |= {"OpenAIError": _OPENAI_ERROR, "EmberError": _EMBER_ERROR}
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return ours | {
        "paths": theirs["paths"] | ours["paths"],
        "components": ours["components"] | {"schemas": dict(sorted(schemas.items()))},
    }


def _error_of(path: str) -> str:
    """The component of the errors of a path."""
    if path.startswith(OPENAI):
        return "OpenAIError"
    return "EmberError" if path.startswith(EMBER) else "Error"

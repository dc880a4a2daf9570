"""A request's message from the path, the query and the body of an HTTP request."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message

from services.errors import InvalidField
from services.gateway.rest.table import Route
from services.gateway.rest.wire.methods import Parameter, method_of, parameters_of, request_type
from services.gateway.rest.wire.values import check_message

_BOOLEANS = {"true": True, "false": False}


def request_of(
    route: Route, in_path: Mapping[str, str], in_query: Iterable[tuple[str, str]], body: bytes
) -> Message:
    """The request. Raises InvalidField that names the field at fault."""
    request = request_type(route.service, route.method)()
    document = _object(body)
    for parameter, texts in _given(route, in_path, in_query):
        _put(document, parameter, texts)
    check_message(method_of(route.service, route.method).input_type, document, "")
    try:
        return ParseDict(document, request)
    except (ParseError, ValueError) as error:  # what the checks do not know of
        raise InvalidField("body", str(error)[:500]) from None


def _object(body: bytes) -> dict[str, Any]:
    """The object that a body holds; empty where there is none."""
    if not body:
        return {}
    try:
        found = json.loads(body.decode("utf-8"), object_pairs_hook=_once, parse_constant=_refuse)
    except UnicodeDecodeError:
        raise InvalidField("body", "is no UTF-8") from None
    except RecursionError:
        raise InvalidField("body", "is nested too deep") from None
    except ValueError as error:  # numbers of thousands of digits too
        raise InvalidField("body", f"is no JSON: {str(error)[:200]}") from None
    if not isinstance(found, dict):
        raise InvalidField("body", "is no object; allowed: an object with the request's fields")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has {twice[:50]!r} twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} must stand in quotes")


def _given(
    route: Route, in_path: Mapping[str, str], in_query: Iterable[tuple[str, str]]
) -> list[tuple[Parameter, list[str]]]:
    """The parameters that an URL has, with their values."""
    parameters = parameters_of(route)
    given = {name: [value] for name, value in in_path.items()}
    spellings = {name: each for each in parameters if not each.in_path for name in each.names}
    for name, value in in_query:
        if name not in spellings:
            known = ", ".join(each.name for each in parameters if not each.in_path) or "none"
            raise InvalidField(name[:50], f"is no parameter here; allowed: {known}")
        given.setdefault(spellings[name].name, []).append(value)
    return [(each, given[each.name]) for each in parameters if each.name in given]


def _put(document: dict[str, Any], parameter: Parameter, texts: list[str]) -> None:
    """Puts a parameter's value where its field is. Raises InvalidField where the body has another one there."""
    place = document
    for field in parameter.path[:-1]:
        place = place.setdefault(_spelled(place, field), {})
        if not isinstance(place, dict):
            raise InvalidField(field.name, "is no object; allowed: an object")
    last = parameter.field
    if len(texts) > 1 and not last.is_repeated:
        raise InvalidField(parameter.name, "is given more than once")
    values = [_BOOLEANS.get(text, text) if _is_flag(last) else text for text in texts]
    value = values if last.is_repeated else values[0]
    name = _spelled(place, last)
    if place.get(name) not in (None, "", value):
        raise InvalidField(
            ".".join(each.name for each in parameter.path), "is another one in the body than in the path"
        )
    place[name] = value


def _spelled(document: Mapping[str, Any], field: FieldDescriptor) -> str:
    """A field's name, as an object spells it."""
    spellings = (field.json_name, field.name)
    return next((name for name in spellings if name in document), field.json_name)


def _is_flag(field: FieldDescriptor) -> bool:
    return bool(field.cpp_type == FieldDescriptor.CPPTYPE_BOOL)

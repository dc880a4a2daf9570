"""Whether a JSON value is what a field may hold. All errors are InvalidField with the path, as the schema spells it."""

from __future__ import annotations

import math
import re
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from services.errors import InvalidField

DEEPEST = 40
"""How deep messages may nest; what may nest at all nests at most 8 deep for the services."""
_SHOWN = 50
"""Characters of a value that an error repeats."""
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_LARGEST = {FieldDescriptor.CPPTYPE_FLOAT: 3.4028235e38, FieldDescriptor.CPPTYPE_DOUBLE: math.inf}
_WHOLE = re.compile(r"-?[0-9]{1,20}")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?|NaN|-?Infinity")
_WELL_KNOWN = {
    "google.protobuf.Timestamp": "a time such as '2026-11-27T12:00:00Z'",
    "google.protobuf.Duration": "seconds such as '1.5s'",
    "google.protobuf.FieldMask": "names of fields, joined by commas",
}


def check_message(message: Descriptor, value: Any, path: str, depth: int = 0) -> None:
    """Raises InvalidField where a value is no such message."""
    if message.full_name in _WELL_KNOWN:
        _check_well_known(message, value, path)
        return
    if not isinstance(value, dict):
        raise _wrong(path, value, "an object")
    if depth > DEEPEST:
        raise InvalidField(path, f"is nested too deep; allowed: at most {DEEPEST} levels")
    given: dict[str, str] = {}
    for name, content in value.items():
        field = named(message, name)
        place = f"{path}.{field.name if field else _ascii(name)}".lstrip(".")
        if field is None:
            known = ", ".join(each.json_name for each in message.fields)
            raise InvalidField(place, f"is no field here; allowed: {known}")
        if content is None:
            continue  # null is as if it were not there
        group = field.containing_oneof.name if field.containing_oneof else field.name
        if group in given:
            raise InvalidField(place, f"stands beside {given[group]!r}; allowed: one of the two")
        given[group] = name
        _check_field(field, content, place, depth)


def named(message: Descriptor, name: str) -> FieldDescriptor | None:
    """The field of a name in either spelling."""
    if not name.isascii():  # protobuf answers half of a surrogate pair with a SystemError
        return None
    return message.fields_by_camelcase_name.get(name) or message.fields_by_name.get(name)


def _check_field(field: FieldDescriptor, value: Any, path: str, depth: int) -> None:
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        if not isinstance(value, dict):
            raise _wrong(path, value, "an object")
        for key, content in value.items():
            _check_value(message.fields_by_name["value"], content, f"{path}[{key[:_SHOWN]!r}]", depth)
    elif field.is_repeated:
        if not isinstance(value, list):
            raise _wrong(path, value, "a list")
        for number, content in enumerate(value):
            _check_value(field, content, f"{path}[{number}]", depth)
    else:
        _check_value(field, value, path, depth)


def _check_value(field: FieldDescriptor, value: Any, path: str, depth: int) -> None:
    if field.message_type is not None:
        check_message(field.message_type, value, path, depth + 1)
    elif field.enum_type is not None:
        known = [each.name for each in field.enum_type.values]
        numbers = [each.number for each in field.enum_type.values]
        if value not in (numbers if type(value) is int else known):
            raise _wrong(path, value, ", ".join(known))
    elif field.cpp_type in _RANGES:
        _check_whole(value, path, *_RANGES[field.cpp_type])
    elif field.cpp_type in _LARGEST:
        _check_number(value, path, _LARGEST[field.cpp_type])
    elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        if not isinstance(value, bool):
            raise _wrong(path, value, "true or false")
    elif not isinstance(value, str):
        raise _wrong(path, value, "a text")
    elif any("\ud800" <= sign <= "\udfff" for sign in value):
        raise InvalidField(path, "holds half of a surrogate pair; allowed: whole characters")


def _check_whole(value: Any, path: str, least: int, most: int) -> None:
    number = value
    is_text = isinstance(value, str) and _WHOLE.fullmatch(value)
    if is_text or (isinstance(value, float) and value.is_integer()):
        number = int(value)
    if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
        raise _wrong(path, value, f"a whole number, {least} to {most}")


def _check_number(value: Any, path: str, most: float) -> None:
    number = value
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        number = float(value)
        most = math.inf if value.endswith("Infinity") else most
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise _wrong(path, value, "a number")
    if (isinstance(number, int) and abs(number) > 1.7e308) or abs(number) > most:
        raise InvalidField(path, f"is larger than the field's type holds; allowed: up to {most:.4g}")


def _check_well_known(message: Descriptor, value: Any, path: str) -> None:
    allowed = _WELL_KNOWN[message.full_name]
    if not isinstance(value, str):
        raise _wrong(path, value, allowed)
    try:
        GetMessageClass(message)().FromJsonString(value)  # type: ignore[attr-defined]
    except ValueError:
        raise _wrong(path, value, allowed) from None


def _ascii(name: str) -> str:
    """A name that may stand in an answer, whatever it is."""
    return name[:_SHOWN].encode("ascii", "backslashreplace").decode()


def _wrong(path: str, value: Any, allowed: str) -> InvalidField:
    shown = value if isinstance(value, str | bool | int | float) else type(value).__name__
    text = repr(shown) if isinstance(shown, str) and shown is value else str(shown)
    return InvalidField(path or "body", f"is {text[:_SHOWN]}; allowed: {allowed}")

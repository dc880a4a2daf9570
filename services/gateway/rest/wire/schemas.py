"""JSON Schemas of the messages, as proto3 JSON writes them, described by the comments of the .proto files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

Schema = dict[str, Any]
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
}
_WELL_KNOWN: dict[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?\d+(\.\d{1,9})?s$", "example": "1.5s"},
    "google.protobuf.FieldMask": {"type": "string", "example": "label,description"},
}


class Schemas:
    """Components as they are needed. A message that is in requests and in answers has one for each: what must be there
    in an answer may be left out of a request, whose one is then called `...Input`."""

    def __init__(self, comments: Mapping[str, str], answers: list[Descriptor]) -> None:
        """`answers` are the messages of all answers."""
        self._comments = comments
        self._answered: set[str] = set()
        for message in answers:
            self._mark(message)
        self.components: dict[str, Schema] = {}

    def request(self, message: Descriptor, requires: tuple[str, ...] = ()) -> Schema:
        """A reference to the schema of a message in a request."""
        return self._reference(message, asked=True, requires=requires)

    def answer(self, message: Descriptor) -> Schema:
        """A reference to the schema of a message in an answer."""
        return self._reference(message, asked=False)

    def field(self, field: FieldDescriptor, *, asked: bool) -> Schema:
        """The schema of a field, described."""
        comment = self._comments.get(field.full_name, "")
        described = {"description": comment} if comment else {}
        message = field.message_type
        if message is not None and message.GetOptions().map_entry:
            values = self._value(message.fields_by_name["value"], asked)
            return {"type": "object", "additionalProperties": values} | described
        value = self._value(field, asked)
        return ({"type": "array", "items": value} if field.is_repeated else value) | described

    def _value(self, field: FieldDescriptor, asked: bool) -> Schema:
        if field.message_type is not None:
            return self._reference(field.message_type, asked=asked)
        if field.enum_type is not None:
            return self._enum(field.enum_type)
        if field.type == FieldDescriptor.TYPE_BYTES:
            return {"type": "string", "format": "byte", "contentEncoding": "base64"}
        if field.cpp_type in _INTEGERS:
            least, most = _INTEGERS[field.cpp_type]
            return {"type": "integer", "minimum": least, "maximum": most}
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_INT64 | FieldDescriptor.CPPTYPE_UINT64:
                sign = "-?" if field.cpp_type == FieldDescriptor.CPPTYPE_INT64 else ""
                return {"type": "string", "pattern": f"^{sign}[0-9]{{1,20}}$"}
            case FieldDescriptor.CPPTYPE_FLOAT | FieldDescriptor.CPPTYPE_DOUBLE:
                return {"type": "number"}
            case FieldDescriptor.CPPTYPE_BOOL:
                return {"type": "boolean"}
        return {"type": "string"}

    def _reference(self, message: Descriptor, *, asked: bool, requires: tuple[str, ...] = ()) -> Schema:
        if message.full_name in _WELL_KNOWN:
            return dict(_WELL_KNOWN[message.full_name])
        name = _name(message) + ("Input" if asked and message.full_name in self._answered else "")
        if name not in self.components:
            self.components[name] = {}  # known by name from here on: messages nest
            self.components[name] = self._message(message, asked, requires)
        return {"$ref": f"#/components/schemas/{name}"}

    def _message(self, message: Descriptor, asked: bool, requires: tuple[str, ...]) -> Schema:
        paragraphs = [self._comments.get(message.full_name, "")]
        for oneof in message.oneofs:
            if not oneof.name.startswith("_"):  # those of `optional` fields
                members = ", ".join(f"`{field.json_name}`" for field in oneof.fields)
                what = self._comments.get(oneof.full_name, "")
                exactly = what == "Exactly one of these."
                paragraphs.append(
                    f"Exactly one of {members}." if exactly else f"{what} At most one of {members}."
                )
        schema: Schema = {
            "type": "object",
            "description": "\n\n".join(filter(None, paragraphs)),
            "properties": {field.json_name: self.field(field, asked=asked) for field in message.fields},
        }
        needed = list(requires) if asked else [f.json_name for f in message.fields if not f.has_presence]
        if needed:
            schema["required"] = needed
        if asked:
            schema["additionalProperties"] = False
        return schema

    def _enum(self, enum: EnumDescriptor) -> Schema:
        name = _name(enum)
        if name not in self.components:
            meanings = [
                f"- `{v.name}`: {self._comments.get(f'{enum.full_name}.{v.name}', '')}" for v in enum.values
            ]
            description = "\n".join([self._comments.get(enum.full_name, ""), "", *meanings])
            self.components[name] = {
                "type": "string",
                "enum": [value.name for value in enum.values],
                "description": description,
            }
        return {"$ref": f"#/components/schemas/{name}"}

    def _mark(self, message: Descriptor) -> None:
        if message.full_name not in self._answered:
            self._answered.add(message.full_name)
            for field in message.fields:
                if field.message_type is not None:
                    self._mark(field.message_type)


def _name(element: Descriptor | EnumDescriptor) -> str:
    """`ComparisonOperator` for `hearth.v1.Comparison.Operator`."""
    return element.full_name.removeprefix("hearth.v1.").replace(".", "")

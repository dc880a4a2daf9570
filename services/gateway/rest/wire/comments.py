"""The comments of the .proto files, by the full name of what they stand above."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

Path = tuple[int, ...]
# Numbers of the fields of descriptor.proto, of which the paths of SourceCodeInfo are made.
_MESSAGES, _ENUMS, _SERVICES = 4, 5, 6
_FIELDS, _NESTED_MESSAGES, _NESTED_ENUMS, _ONEOFS = 2, 3, 4, 8
_VALUES = _METHODS = 2


def comments_in(built: bytes) -> dict[str, str]:
    """Each comment as one paragraph, by names such as `hearth.v1.Edit.nudge`; `built` is a FileDescriptorSet."""
    files = FileDescriptorSet.FromString(built)
    found: dict[str, str] = {}
    for file in files.file:
        above = {
            tuple(place.path): " ".join(place.leading_comments.split())
            for place in file.source_code_info.location
            if place.leading_comments
        }
        found |= {name: above[path] for path, name in _elements(file) if path in above}
    return found


def _elements(file: FileDescriptorProto) -> Iterator[tuple[Path, str]]:
    for number, message in enumerate(file.message_type):
        yield from _message((_MESSAGES, number), f"{file.package}.{message.name}", message)
    for number, enum in enumerate(file.enum_type):
        yield from _enum((_ENUMS, number), f"{file.package}.{enum.name}", enum)
    for number, service in enumerate(file.service):
        name = f"{file.package}.{service.name}"
        yield (_SERVICES, number), name
        for place, method in enumerate(service.method):
            yield (_SERVICES, number, _METHODS, place), f"{name}.{method.name}"


def _message(path: Path, name: str, message: DescriptorProto) -> Iterator[tuple[Path, str]]:
    yield path, name
    for number, field in enumerate(message.field):
        yield (*path, _FIELDS, number), f"{name}.{field.name}"
    for number, oneof in enumerate(message.oneof_decl):
        yield (*path, _ONEOFS, number), f"{name}.{oneof.name}"
    for number, nested in enumerate(message.nested_type):
        yield from _message((*path, _NESTED_MESSAGES, number), f"{name}.{nested.name}", nested)
    for number, enum in enumerate(message.enum_type):
        yield from _enum((*path, _NESTED_ENUMS, number), f"{name}.{enum.name}", enum)


def _enum(path: Path, name: str, enum: EnumDescriptorProto) -> Iterator[tuple[Path, str]]:
    yield path, name
    for number, value in enumerate(enum.value):
        yield (*path, _VALUES, number), f"{name}.{value.name}"

"""The RPC behind a route: its descriptor, its messages, and which fields its URL fills."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from hearth.v1 import autosteer_service_pb2, feature_service_pb2, inference_service_pb2, variant_service_pb2
from services.gateway.rest.table import Route

_SERVICES = {
    "inference": inference_service_pb2.DESCRIPTOR.services_by_name["InferenceService"],
    "features": feature_service_pb2.DESCRIPTOR.services_by_name["FeatureService"],
    "variants": variant_service_pb2.DESCRIPTOR.services_by_name["VariantService"],
    "autosteer": autosteer_service_pb2.DESCRIPTOR.services_by_name["AutoSteerService"],
}
"""By the names of the fields of `Services`."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a path or a query, and the field that it fills."""

    name: str
    """As it stands in the URL."""
    path: tuple[FieldDescriptor, ...]
    """The fields from the request down to the one that it fills."""
    in_path: bool

    @property
    def field(self) -> FieldDescriptor:
        """The field that it fills."""
        return self.path[-1]

    @property
    def names(self) -> frozenset[str]:
        """The ways in which it may be spelled: as in JSON, or as in the schema."""
        return frozenset({self.name, re.sub("[A-Z]", lambda big: f"_{big[0].lower()}", self.name)})


@cache
def method_of(service: str, name: str) -> MethodDescriptor:
    """The RPC of that name."""
    return _SERVICES[service].methods_by_name[name]


@cache
def request_type(service: str, name: str) -> type[Message]:
    """The class of an RPC's request."""
    return GetMessageClass(method_of(service, name).input_type)


def is_stream(route: Route) -> bool:
    """Whether a route answers with events."""
    return bool(method_of(route.service, route.method).server_streaming)


@cache
def parameters_of(route: Route) -> tuple[Parameter, ...]:
    """A route's parameters, those in the path first."""
    request = method_of(route.service, route.method).input_type
    if route.parameters is not None:
        named = {name: _fields(request, path) for name, path in route.parameters.items()}
    elif route.has_body:
        named = {name: _fields(request, name) for name in route.in_path}
    else:
        named = {".".join(field.json_name for field in path): path for path in _leaves(request, ())}
    found = [Parameter(name, path, name in route.in_path) for name, path in named.items()]
    return tuple(sorted(found, key=lambda each: not each.in_path))


def reads_body(route: Route) -> bool:
    """Whether a route's request has fields that only a body can fill."""
    filled = {parameter.path for parameter in parameters_of(route)}
    fields = method_of(route.service, route.method).input_type.fields
    return route.has_body and any((field,) not in filled for field in fields)


def _fields(message: Descriptor, path: str) -> tuple[FieldDescriptor, ...]:
    """The fields that a dotted path names."""
    first, _, rest = path.partition(".")
    field = message.fields_by_name[first]
    if not rest:
        return (field,)
    assert field.message_type is not None
    return (field, *_fields(field.message_type, rest))


def _leaves(message: Descriptor, above: tuple[FieldDescriptor, ...]) -> Iterator[tuple[FieldDescriptor, ...]]:
    """The fields of a request that a query can fill: numbers, texts and enums, also within messages."""
    for field in message.fields:
        if field.message_type is None:
            yield (*above, field)
        elif not field.is_repeated:
            yield from _leaves(field.message_type, (*above, field))
